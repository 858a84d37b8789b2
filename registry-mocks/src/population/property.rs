//! Taxed properties and the invoices for them. Pure.

use time::{Date, Month};

use super::{AS_OF, Marriage, Person, PersonId, stream};
use crate::{number, rng::Rng};

/// Years that invoices exist for.
const TAX_YEARS: [i32; 4] = [2023, 2024, 2025, 2026];

/// Use of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Dwelling.
    Residential,
    /// Shop or office.
    Commercial,
    /// Factory or store.
    Industrial,
    /// Field or orchard.
    Agricultural,
}

/// Why a tax is reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relief {
    /// It is not.
    None,
    /// Primary residence.
    PrimaryResidence,
    /// Social assistance.
    SocialAssistance,
    /// Invalid of war.
    WarInvalid,
}

/// A taxed property.
#[derive(Clone, Debug)]
pub struct Property {
    /// Number in the tax register.
    pub number: String,
    /// Municipality, position in the table.
    pub municipality: usize,
    /// Address in one line.
    pub address: String,
    /// Valuation zone, 1 the dearest, to 5.
    pub zone: u8,
    /// Use.
    pub category: Category,
    /// Area in square metres.
    pub area_m2: u32,
    /// Whether the owners live there.
    pub primary_residence: bool,
    /// Owners, with equal shares.
    pub owners: Vec<PersonId>,
    /// Day from which the owners are taxed.
    pub since: Date,
}

/// The tax of one year on one owner's share of a property.
#[derive(Clone, Debug)]
pub struct Invoice {
    /// UNIREF, 16 digits.
    pub uniref: String,
    /// Who owes it.
    pub person: PersonId,
    /// Position of the property.
    pub property: usize,
    /// Year of the tax.
    pub year: i32,
    /// Day of issue.
    pub issued_on: Date,
    /// Last day to pay.
    pub due_on: Date,
    /// Why it is reduced.
    pub relief: Relief,
    /// What it is made of: text in Albanian and cents.
    pub lines: Vec<(&'static str, i64)>,
    /// Cents that were paid before the mock started.
    pub paid_cents: i64,
    /// Whether the municipality took it back.
    pub cancelled: bool,
}

impl Invoice {
    /// Sum of the lines, in cents.
    #[must_use]
    pub fn total_cents(&self) -> i64 {
        self.lines.iter().map(|(_, cents)| cents).sum()
    }
}

/// Dwellings of couples, and shops and fields of some adults.
pub(super) fn properties(seed: u64, people: &[Person], marriages: &[Marriage]) -> Vec<Property> {
    let mut rng = Rng::of(seed, stream::PROPERTY, 0);
    let mut all = Vec::new();
    for marriage in marriages {
        let draw = rng.below(100);
        let mut owners = match draw {
            0..50 => vec![marriage.husband],
            50..70 => vec![marriage.husband, marriage.wife],
            70..78 => vec![marriage.wife],
            _ => continue,
        };
        owners.retain(|id| people[*id].is_alive());
        if let Some(first) = owners.first().copied() {
            let property = build(&mut rng, all.len(), people, owners, Category::Residential, marriage.on);
            all.push(Property { primary_residence: people[first].address == property.address, ..property });
        }
    }
    for (id, person) in people.iter().enumerate() {
        if person.is_adult() && rng.chance(120) {
            let category = rng.pick(&[
                Category::Agricultural,
                Category::Agricultural,
                Category::Agricultural,
                Category::Commercial,
                Category::Commercial,
                Category::Industrial,
            ]);
            let since = person.born_on.saturating_add(time::Duration::days(19 * 365));
            all.push(build(&mut rng, all.len(), people, vec![id], category, since));
        }
    }
    all
}

fn build(
    rng: &mut Rng,
    at: usize,
    people: &[Person],
    owners: Vec<PersonId>,
    category: Category,
    since: Date,
) -> Property {
    let first = &people[owners[0]];
    let (low, high) = match category {
        Category::Residential => (45, 260),
        Category::Commercial => (20, 400),
        Category::Industrial => (200, 3000),
        Category::Agricultural => (800, 20_000),
    };
    Property {
        number: format!("{:02}{:02}-{:06}", first.municipality + 1, rng.below(20) + 1, at + 1),
        municipality: first.municipality,
        address: first.address.clone(),
        zone: u8::try_from(rng.between(1, 5)).unwrap_or(5),
        category,
        area_m2: u32::try_from(rng.between(low, high)).unwrap_or(0),
        primary_residence: false,
        owners,
        since,
    }
}

/// One invoice per owner and year.
pub(super) fn invoices(seed: u64, people: &[Person], properties: &[Property]) -> Vec<Invoice> {
    let mut rng = Rng::of(seed, stream::PROPERTY, 1);
    let mut all: Vec<Invoice> = Vec::new();
    for (at, property) in properties.iter().enumerate() {
        for owner in &property.owners {
            let pays_well = !rng.chance(250);
            let hardship = match rng.below(1000) {
                0..40 => Relief::SocialAssistance,
                40..55 => Relief::WarInvalid,
                _ => Relief::None,
            };
            for year in TAX_YEARS {
                let issued_on = date(year, Month::February, u8::try_from(rng.between(10, 24)).unwrap_or(10));
                if property.since > issued_on || people[*owner].age_on(issued_on) < 18 {
                    continue;
                }
                let serial = u64::try_from(all.len() + 1).unwrap_or(0);
                let payee = u64::try_from(100 + property.municipality + 1).unwrap_or(100);
                let relief = match hardship {
                    Relief::None if property.primary_residence => Relief::PrimaryResidence,
                    other => other,
                };
                let mut invoice = Invoice {
                    uniref: number::uniref(payee, u64::try_from(year).unwrap_or(0), serial),
                    person: *owner,
                    property: at,
                    year,
                    issued_on,
                    due_on: date(year, Month::June, 30),
                    relief,
                    lines: lines(property, relief),
                    paid_cents: 0,
                    cancelled: rng.chance(8),
                };
                invoice.paid_cents = if invoice.cancelled { 0 } else { paid(&mut rng, &invoice, pays_well) };
                all.push(invoice);
            }
        }
    }
    all
}

fn date(year: i32, month: Month, day: u8) -> Date {
    Date::from_calendar_date(year, month, day).unwrap_or(AS_OF)
}

/// What the tax on one owner's share is made of.
fn lines(property: &Property, relief: Relief) -> Vec<(&'static str, i64)> {
    let area = i64::from(property.area_m2);
    // Cents a square metre in zone 1.
    let (text, rate) = match property.category {
        Category::Residential => ("Tatimi në ndërtesë banimi", 90),
        Category::Commercial => ("Tatimi në objekt afarist", 160),
        Category::Industrial => ("Tatimi në objekt industrial", 60),
        Category::Agricultural => ("Tatimi në tokë bujqësore", 2),
    };
    let owners = i64::try_from(property.owners.len().max(1)).unwrap_or(1);
    let base = (area * rate * (7 - i64::from(property.zone)) / 6 / owners).max(100);
    let mut lines = vec![(text, base)];
    if property.category != Category::Agricultural {
        lines.push(("Mbledhja e mbeturinave", 1200 / owners));
    }
    match relief {
        Relief::None => {}
        Relief::PrimaryResidence => lines.push(("Zbritja për banim primar", -(base * 30 / 100))),
        Relief::SocialAssistance => lines.push(("Lirimi për asistencë sociale", -base)),
        Relief::WarInvalid => lines.push(("Lirimi për invalid lufte", -(base * 50 / 100))),
    }
    lines
}

/// Cents that were paid already.
fn paid(rng: &mut Rng, invoice: &Invoice, pays_well: bool) -> i64 {
    let this_year = invoice.year == AS_OF.year();
    let in_full = match (this_year, pays_well) {
        (false, true) => 970,
        (false, false) => 450,
        (true, true) => 420,
        (true, false) => 80,
    };
    if rng.chance(in_full) {
        invoice.total_cents()
    } else if rng.chance(120) {
        invoice.total_cents() / 2
    } else {
        0
    }
}
