//! The tax register's books: invoices, what was paid, and the keys of the payments. Knows no HTTP.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use time::{Date, Duration, OffsetDateTime};
use ura_runtime::clock::Clock;

use super::json::{PaymentBody, cents};
use crate::population::{AS_OF, Invoice, PersonId, Population};

/// State of an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Unpaid,
    PartlyPaid,
    Paid,
    Cancelled,
}

impl Status {
    const ALL: [Self; 4] = [Self::Unpaid, Self::PartlyPaid, Self::Paid, Self::Cancelled];

    /// As the register writes it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Unpaid => "PAPAGUAR",
            Self::PartlyPaid => "PJESERISHT",
            Self::Paid => "PAGUAR",
            Self::Cancelled => "ANULUAR",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.text() == text)
    }
}

/// Why a payment is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    UnknownInvoice,
    KeyUsed,
    Closed,
    Amount,
    Currency,
    Day,
    Full,
}

/// A payment that was taken.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Payment {
    pub(crate) confirmation: String,
    pub(crate) confirmed_on: Date,
    pub(crate) status: Status,
    pub(crate) outstanding_cents: i64,
}

/// The books. Payments live as long as this does.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(super) population: Arc<Population>,
    by_uniref: HashMap<String, usize>,
    by_person: HashMap<PersonId, Vec<usize>>,
    payments_max: usize,
    clock: Clock,
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    paid_cents: Vec<i64>,
    by_key: HashMap<String, (PaymentBody, Payment)>,
    counts: BTreeMap<String, u64>,
}

impl Ledger {
    pub(crate) fn new(population: Arc<Population>, payments_max: usize, clock: Clock) -> Self {
        let mut by_uniref = HashMap::with_capacity(population.invoices.len());
        let mut by_person = HashMap::<PersonId, Vec<usize>>::new();
        for (at, invoice) in population.invoices.iter().enumerate() {
            by_uniref.insert(invoice.uniref.clone(), at);
            by_person.entry(invoice.person).or_default().push(at);
        }
        for list in by_person.values_mut() {
            list.sort_by_key(|at| {
                let invoice = &population.invoices[*at];
                (std::cmp::Reverse(invoice.issued_on), invoice.uniref.clone())
            });
        }
        let book = Book {
            paid_cents: population.invoices.iter().map(|invoice| invoice.paid_cents).collect(),
            by_key: HashMap::new(),
            counts: BTreeMap::new(),
        };
        Self { population, by_uniref, by_person, payments_max, clock, book: Mutex::new(book) }
    }

    pub(super) fn invoice(&self, at: usize) -> &Invoice {
        &self.population.invoices[at]
    }

    /// Position of the invoice with this UNIREF.
    pub(crate) fn by_uniref(&self, uniref: &str) -> Option<usize> {
        self.by_uniref.get(uniref).copied()
    }

    /// Invoices of a person, newest first.
    pub(crate) fn of_person(&self, personal_number: &str, status: Option<Status>) -> Vec<usize> {
        let person = self.population.by_number(personal_number);
        let all = person.and_then(|id| self.by_person.get(&id)).map_or(&[][..], Vec::as_slice);
        all.iter().copied().filter(|at| status.is_none_or(|wanted| self.state(*at).0 == wanted)).collect()
    }

    /// State of an invoice and the cents still to be paid.
    pub(crate) fn state(&self, at: usize) -> (Status, i64) {
        let paid = self.book.lock().unwrap_or_else(PoisonError::into_inner).paid_cents[at];
        state(self.invoice(at), paid)
    }

    /// Takes a payment, once for a key: a repeat with the same content gets the first answer.
    pub(crate) fn pay(&self, key: &str, body: PaymentBody) -> Result<Payment, Refusal> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((first, payment)) = book.by_key.get(key) {
            return if *first == body { Ok(payment.clone()) } else { Err(Refusal::KeyUsed) };
        }
        if book.by_key.len() >= self.payments_max {
            return Err(Refusal::Full);
        }
        let at = self.by_uniref(&body.uniref).ok_or(Refusal::UnknownInvoice)?;
        let today = self.today();
        let (status, outstanding) = state(self.invoice(at), book.paid_cents[at]);
        if matches!(status, Status::Paid | Status::Cancelled) {
            return Err(Refusal::Closed);
        }
        if body.monedha != "EUR" {
            return Err(Refusal::Currency);
        }
        // A day more: it is tomorrow in the east while it is today in UTC.
        let day = super::json::day(&body.data_pageses).ok_or(Refusal::Day)?;
        if day > today.saturating_add(Duration::DAY) {
            return Err(Refusal::Day);
        }
        let amount =
            cents(&body.shuma).filter(|amount| (1..=outstanding).contains(amount)).ok_or(Refusal::Amount)?;
        book.paid_cents[at] += amount;
        let (status, outstanding_cents) = state(self.invoice(at), book.paid_cents[at]);
        let payment = Payment {
            confirmation: format!("K-{}-{:07}", today.year(), book.by_key.len() + 1),
            confirmed_on: today,
            status,
            outstanding_cents,
        };
        *book.counts.entry(body.uniref.clone()).or_default() += 1;
        book.by_key.insert(key.to_owned(), (body, payment.clone()));
        Ok(payment)
    }

    fn today(&self) -> Date {
        OffsetDateTime::from_unix_timestamp(self.clock.unix_us() / 1_000_000)
            .map_or(AS_OF, OffsetDateTime::date)
    }

    /// Payments counted, by UNIREF.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).counts.clone()
    }
}

fn state(invoice: &Invoice, paid_cents: i64) -> (Status, i64) {
    let outstanding = invoice.total_cents() - paid_cents;
    if invoice.cancelled {
        (Status::Cancelled, 0)
    } else if outstanding <= 0 {
        (Status::Paid, 0)
    } else if paid_cents > 0 {
        (Status::PartlyPaid, outstanding)
    } else {
        (Status::Unpaid, outstanding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::property_tax::json::PayerBody;

    fn payment(uniref: &str, amount: &str) -> PaymentBody {
        PaymentBody {
            uniref: uniref.to_owned(),
            shuma: amount.to_owned(),
            monedha: "EUR".to_owned(),
            data_pageses: "2026-06-01".to_owned(),
            paguesi: PayerBody { emri: "Gëzim Çitaku".to_owned(), nr_personal: None, nui: None },
        }
    }

    fn books() -> (Ledger, String, i64) {
        // 2026-06-29, 12:00 UTC.
        let (clock, _) = Clock::manual(1_782_734_400_000_000);
        let ledger = Ledger::new(Arc::new(Population::generate(1, 500)), 3, clock);
        let at = (0..ledger.population.invoices.len())
            .find(|at| ledger.state(*at).0 == Status::Unpaid && ledger.state(*at).1 > 200)
            .expect("some are unpaid");
        let uniref = ledger.invoice(at).uniref.clone();
        let outstanding = ledger.state(at).1;
        (ledger, uniref, outstanding)
    }

    #[test]
    fn a_repeat_gets_the_first_answer_and_counts_once() {
        let (ledger, uniref, _) = books();
        let first = ledger.pay("k1", payment(&uniref, "1.00")).expect("taken");
        assert_eq!(first.status, Status::PartlyPaid);
        assert_eq!(ledger.pay("k1", payment(&uniref, "1.00")), Ok(first));
        assert_eq!(ledger.counts()[&uniref], 1);
        assert_eq!(ledger.pay("k1", payment(&uniref, "1.01")), Err(Refusal::KeyUsed));
        ledger.pay("k2", payment(&uniref, "0.50")).expect("another key is another payment");
        assert_eq!(ledger.counts()[&uniref], 2);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_counts_nothing() {
        let (ledger, uniref, outstanding) = books();
        let more = format!("{}.{:02}", (outstanding + 1) / 100, (outstanding + 1) % 100);
        let other_currency = PaymentBody { monedha: "ALL".to_owned(), ..payment(&uniref, "1.00") };
        let no_day = PaymentBody { data_pageses: "01.06.2026".to_owned(), ..payment(&uniref, "1.00") };
        let far_day = PaymentBody { data_pageses: "2026-07-01".to_owned(), ..payment(&uniref, "1.00") };
        for (body, refusal) in [
            (payment("0000000000000000", "1.00"), Refusal::UnknownInvoice),
            (payment(&uniref, "0.00"), Refusal::Amount),
            (payment(&uniref, "-1.00"), Refusal::Amount),
            (payment(&uniref, "1.005"), Refusal::Amount),
            (payment(&uniref, &more), Refusal::Amount),
            (other_currency, Refusal::Currency),
            (no_day, Refusal::Day),
            (far_day, Refusal::Day),
        ] {
            assert_eq!(ledger.pay("k", body.clone()), Err(refusal), "{body:?}");
        }
        assert!(ledger.counts().is_empty());
    }

    #[test]
    fn a_paid_invoice_is_closed_and_full_books_take_no_more() {
        let (ledger, uniref, outstanding) = books();
        let all = format!("{}.{:02}", outstanding / 100, outstanding % 100);
        assert_eq!(ledger.pay("a", payment(&uniref, &all)).expect("taken").status, Status::Paid);
        assert_eq!(ledger.pay("b", payment(&uniref, "1.00")), Err(Refusal::Closed));
        assert!(ledger.pay("a", payment(&uniref, &all)).is_ok(), "a repeat of what closed it");
        let (ledger, uniref, _) = books();
        for key in ["a", "b", "c"] {
            ledger.pay(key, payment(&uniref, "0.10")).expect("room for three");
        }
        assert_eq!(ledger.pay("d", payment(&uniref, "0.10")), Err(Refusal::Full));
    }
}
