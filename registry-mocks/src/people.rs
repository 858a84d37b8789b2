//! Real examples out of the population, for a walk or a test that needs somebody to ask about.
//!
//! Every accessor takes the first that fits, so it is the same for the same seed and size, and
//! `None` where the population is too small.

use std::sync::Arc;

use crate::population::{Community, Invoice, Owner, Person, PersonId, Population, Vehicle};

/// Looks for examples in a population.
#[derive(Clone, Debug)]
pub struct People {
    population: Arc<Population>,
    documents_max: usize,
}

impl People {
    pub(crate) fn new(population: Arc<Population>, documents_max: usize) -> Self {
        Self { population, documents_max }
    }

    /// Everybody and everything.
    #[must_use]
    pub fn population(&self) -> &Population {
        &self.population
    }

    /// Whether the register holds a birth certificate document of this person.
    #[must_use]
    pub fn has_document(&self, id: PersonId) -> bool {
        self.population.people[id].registered && id < self.documents_max
    }

    /// A registered minor with a document whose parents live, are registered and are married, preferably with
    /// letters beyond ASCII in the name and with a scan in the document.
    #[must_use]
    pub fn child(&self) -> Option<&Person> {
        let fits = |&(id, person): &(PersonId, &Person)| {
            let parent = |of: Option<PersonId>| of.is_some_and(|of| self.is_living_and_registered(of));
            self.has_document(id)
                && !person.is_adult()
                && person.is_alive()
                && parent(person.mother)
                && parent(person.father)
        };
        let with_scan =
            |&(id, person): &(PersonId, &Person)| crate::has_scan(id) && !person.given_name.is_ascii();
        let found = self.people().filter(fits).find(with_scan).or_else(|| self.people().find(fits));
        found.map(|(_, person)| person)
    }

    /// Mother and father of somebody, where both are of the population.
    #[must_use]
    pub fn parents(&self, of: &Person) -> Option<(&Person, &Person)> {
        Some((&self.population.people[of.mother?], &self.population.people[of.father?]))
    }

    /// A living, registered adult with a letter beyond ASCII in a name.
    #[must_use]
    pub fn adult(&self) -> Option<&Person> {
        self.people()
            .map(|(_, person)| person)
            .find(|person| person.registered && person.is_adult() && !person.given_name.is_ascii())
    }

    /// A living, registered adult of this community.
    #[must_use]
    pub fn adult_of(&self, community: Community) -> Option<&Person> {
        self.people()
            .map(|(_, person)| person)
            .find(|person| person.registered && person.is_adult() && person.community == community)
    }

    /// A registered person who has died.
    #[must_use]
    pub fn deceased(&self) -> Option<&Person> {
        self.people().map(|(_, person)| person).find(|person| person.registered && !person.is_alive())
    }

    /// A living adult whom the central civil register does not have.
    #[must_use]
    pub fn unregistered(&self) -> Option<&Person> {
        self.people().map(|(_, person)| person).find(|person| !person.registered && person.is_adult())
    }

    /// An invoice of which nothing was paid before the mocks started, of a registered person.
    #[must_use]
    pub fn unpaid_invoice(&self) -> Option<&Invoice> {
        self.population.invoices.iter().find(|invoice| {
            !invoice.cancelled
                && invoice.paid_cents == 0
                && invoice.total_cents() > 100
                && self.is_living_and_registered(invoice.person)
        })
    }

    /// All invoices of which nothing was paid before the mocks started, for tests that pay many.
    pub fn unpaid_invoices(&self) -> impl Iterator<Item = &Invoice> {
        self.population
            .invoices
            .iter()
            .filter(|invoice| !invoice.cancelled && invoice.paid_cents == 0 && invoice.total_cents() > 100)
    }

    /// Who owes an invoice.
    #[must_use]
    pub fn taxpayer(&self, invoice: &Invoice) -> &Person {
        &self.population.people[invoice.person]
    }

    /// A vehicle of a registered person.
    #[must_use]
    pub fn vehicle(&self) -> Option<&Vehicle> {
        self.population.vehicles.iter().find(|vehicle| match vehicle.owner {
            Owner::Person(id) => self.is_living_and_registered(id),
            Owner::Business(_) => false,
        })
    }

    /// A vehicle of a business.
    #[must_use]
    pub fn business_vehicle(&self) -> Option<&Vehicle> {
        self.population.vehicles.iter().find(|vehicle| matches!(vehicle.owner, Owner::Business(_)))
    }

    /// The number of a vehicle's owner: personal number, or NUI of a business.
    #[must_use]
    pub fn owner_number(&self, vehicle: &Vehicle) -> &str {
        match vehicle.owner {
            Owner::Person(id) => &self.population.people[id].personal_number,
            Owner::Business(at) => &self.population.businesses[at].number,
        }
    }

    /// A registered person with at least two vehicles.
    #[must_use]
    pub fn owner_of_several(&self) -> Option<&Person> {
        let pairs = self.population.vehicles.windows(2);
        pairs
            .filter_map(|pair| match (pair[0].owner, pair[1].owner) {
                (Owner::Person(one), Owner::Person(two)) if one == two => Some(one),
                _ => None,
            })
            .find(|id| self.is_living_and_registered(*id))
            .map(|id| &self.population.people[id])
    }

    fn people(&self) -> impl Iterator<Item = (PersonId, &Person)> {
        self.population.people.iter().enumerate()
    }

    fn is_living_and_registered(&self, id: PersonId) -> bool {
        let person = &self.population.people[id];
        person.registered && person.is_alive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_people_have_every_example() {
        let people = People::new(Arc::new(Population::generate(1, 1000)), 1000);
        let child = people.child().expect("a child");
        let (mother, father) = people.parents(child).expect("parents");
        assert!(mother.born_on < child.born_on && father.born_on < child.born_on);
        assert!(people.adult().is_some() && people.deceased().is_some() && people.unregistered().is_some());
        assert!(
            people.adult_of(Community::Serbian).is_some() && people.adult_of(Community::Turkish).is_some()
        );
        let invoice = people.unpaid_invoice().expect("an unpaid invoice");
        assert!(people.taxpayer(invoice).registered);
        assert_eq!(people.owner_number(people.vehicle().expect("a vehicle")).len(), 10);
        assert_eq!(people.owner_number(people.business_vehicle().expect("a vehicle")).len(), 9);
        assert!(people.owner_of_several().is_some());
    }

    #[test]
    fn one_person_is_not_enough_and_hurts_nobody() {
        let people = People::new(Arc::new(Population::generate(1, 1)), 1);
        assert!(
            people.child().is_none() && people.vehicle().is_none() && people.owner_of_several().is_none()
        );
    }
}
