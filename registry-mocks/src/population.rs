//! Everybody and everything that the three registers know about, made from a seed and a size.
//!
//! The same seed and size give the same population on every machine. Knows no register's format.

mod families;
mod property;
mod vehicle;

use std::collections::HashMap;

use time::{Date, Month};

pub use self::{
    property::{Category, Invoice, Property, Relief},
    vehicle::{Business, Owner, Vehicle, VehicleKind},
};
pub use crate::names::Community;
use crate::{
    names::names,
    places::{MUNICIPALITIES, Municipality},
    rng::Rng,
};

/// Position of a person in [`Population::people`].
pub type PersonId = usize;

/// The day on which the population was made: nobody is born and nothing happens after it.
pub const AS_OF: Date = match Date::from_calendar_date(2026, Month::June, 30) {
    Ok(day) => day,
    Err(_) => Date::MIN,
};

/// Streams of random numbers, one per kind of thing, so that a change of one moves no other.
mod stream {
    pub(super) const FAMILIES: u64 = 1;
    pub(super) const PAPER_PARENTS: u64 = 2;
    pub(super) const PROPERTY: u64 = 3;
    pub(super) const VEHICLES: u64 = 4;
}

/// Sex as registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sex {
    /// Female.
    Female,
    /// Male.
    Male,
}

/// Where somebody was born.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birthplace {
    /// In the municipality with this position.
    Home(usize),
    /// Abroad: town and country (ISO 3166-1 alpha-2).
    Abroad(&'static str, &'static str),
}

/// A person.
#[derive(Clone, Debug)]
pub struct Person {
    /// Personal number, 10 digits.
    pub personal_number: String,
    /// Given name.
    pub given_name: &'static str,
    /// Family name today.
    pub family_name: &'static str,
    /// Family name at birth.
    pub birth_family_name: &'static str,
    /// Community of the family.
    pub community: Community,
    /// Sex.
    pub sex: Sex,
    /// Day of birth.
    pub born_on: Date,
    /// Day of death.
    pub died_on: Option<Date>,
    /// Where the person was born.
    pub birthplace: Birthplace,
    /// Mother, where she is one of the population.
    pub mother: Option<PersonId>,
    /// Father, where he is one of the population.
    pub father: Option<PersonId>,
    /// Mother's family name on the day of birth.
    pub mother_family_name: &'static str,
    /// Municipality, position in the table of all 38.
    pub municipality: usize,
    /// Address in one line.
    pub address: String,
    /// Whether the central civil register has the person.
    pub registered: bool,
}

impl Person {
    /// Whether the person lives.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.died_on.is_none()
    }

    /// Whether the person lives and is 18 or older.
    #[must_use]
    pub fn is_adult(&self) -> bool {
        self.is_alive() && self.age_on(AS_OF) >= 18
    }

    /// Age in whole years on a day after birth.
    #[must_use]
    pub fn age_on(&self, day: Date) -> i32 {
        let before = (day.month() as u8, day.day()) < (self.born_on.month() as u8, self.born_on.day());
        day.year() - self.born_on.year() - i32::from(before)
    }
}

/// A marriage.
#[derive(Clone, Copy, Debug)]
pub struct Marriage {
    /// Husband.
    pub husband: PersonId,
    /// Wife.
    pub wife: PersonId,
    /// Day of marriage.
    pub on: Date,
    /// Day of divorce.
    pub dissolved_on: Option<Date>,
    /// Municipality that keeps the act.
    pub municipality: usize,
}

/// A parent as only the paper book names them.
#[derive(Clone, Copy, Debug)]
pub struct PaperParent {
    /// Given name.
    pub given_name: &'static str,
    /// Family name at birth.
    pub birth_family_name: &'static str,
}

/// Everybody and everything.
#[derive(Debug)]
pub struct Population {
    /// What it was made from.
    pub seed: u64,
    /// People; parents stand before their children.
    pub people: Vec<Person>,
    /// Marriages.
    pub marriages: Vec<Marriage>,
    /// Businesses.
    pub businesses: Vec<Business>,
    /// Taxed properties.
    pub properties: Vec<Property>,
    /// Invoices, by property, share and year.
    pub invoices: Vec<Invoice>,
    /// Vehicles.
    pub vehicles: Vec<Vehicle>,
    numbers: HashMap<String, PersonId>,
}

impl Population {
    /// So many people of this seed, with all they own.
    #[must_use]
    pub fn generate(seed: u64, people: usize) -> Self {
        let (people, marriages) = families::grow(seed, people);
        let businesses = vehicle::businesses(&people);
        let properties = property::properties(seed, &people, &marriages);
        let invoices = property::invoices(seed, &people, &properties);
        let vehicles = vehicle::vehicles(seed, &people, &businesses);
        let numbers =
            people.iter().enumerate().map(|(id, person)| (person.personal_number.clone(), id)).collect();
        Self { seed, people, marriages, businesses, properties, invoices, vehicles, numbers }
    }

    /// Who has this personal number.
    #[must_use]
    pub fn by_number(&self, personal_number: &str) -> Option<PersonId> {
        self.numbers.get(personal_number).copied()
    }

    /// A municipality by position.
    #[must_use]
    pub fn municipality(&self, at: usize) -> &'static Municipality {
        &MUNICIPALITIES[at]
    }

    /// Mother and father of somebody whose parents stand in paper books only; two in a hundred have no father there.
    #[must_use]
    pub fn paper_parents(&self, id: PersonId) -> (PaperParent, Option<PaperParent>) {
        let person = &self.people[id];
        let number = u64::try_from(id).unwrap_or(u64::MAX);
        let mut rng = Rng::of(self.seed, stream::PAPER_PARENTS, number);
        let names = names(person.community);
        let mother =
            PaperParent { given_name: rng.pick(names.female), birth_family_name: rng.pick(names.family) };
        let father =
            PaperParent { given_name: rng.pick(names.male), birth_family_name: person.birth_family_name };
        (mother, (!rng.chance(20)).then_some(father))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_same_seed_and_size_give_the_same_population() {
        let one = Population::generate(7, 700);
        let two = Population::generate(7, 700);
        let other = Population::generate(8, 700);
        assert_eq!(
            format!("{:?}{:?}", one.people, one.invoices),
            format!("{:?}{:?}", two.people, two.invoices)
        );
        assert_ne!(format!("{:?}", one.people), format!("{:?}", other.people));
    }

    #[test]
    fn every_size_is_exact() {
        for size in [1, 2, 3, 10, 99, 1000] {
            assert_eq!(Population::generate(3, size).people.len(), size);
        }
    }

    #[test]
    fn families_are_coherent() {
        let all = Population::generate(11, 4000);
        let numbers: HashSet<&str> = all.people.iter().map(|p| p.personal_number.as_str()).collect();
        assert_eq!(numbers.len(), 4000);
        for (id, person) in all.people.iter().enumerate() {
            assert!(person.born_on <= AS_OF);
            assert!(person.died_on.is_none_or(|died| died >= person.born_on && died <= AS_OF));
            let (Some(mother), Some(father)) = (person.mother, person.father) else { continue };
            assert!(mother < id && father < id);
            let (mother, father) = (&all.people[mother], &all.people[father]);
            assert!((17..=46).contains(&mother.age_on(person.born_on)), "mother's age");
            assert!(father.age_on(person.born_on) >= 17, "father's age");
            assert!(mother.died_on.is_none_or(|died| died >= person.born_on));
            assert!(father.died_on.is_none_or(|died| died >= person.born_on));
            assert_eq!(person.birth_family_name, father.birth_family_name);
            assert_eq!((mother.sex, father.sex), (Sex::Female, Sex::Male));
        }
    }

    #[test]
    fn marriages_are_between_the_living_and_never_between_siblings() {
        let all = Population::generate(11, 4000);
        assert!(all.marriages.iter().any(|m| m.dissolved_on.is_some()));
        for marriage in &all.marriages {
            let (husband, wife) = (&all.people[marriage.husband], &all.people[marriage.wife]);
            assert!(husband.age_on(marriage.on) >= 18 && wife.age_on(marriage.on) >= 18);
            for one in [husband, wife] {
                assert!(one.died_on.is_none_or(|died| died >= marriage.on));
            }
            assert!(husband.father.is_none() || husband.father != wife.father);
            assert!(marriage.dissolved_on.is_none_or(|day| day > marriage.on && day <= AS_OF));
            for child in all.people.iter().filter(|p| p.mother == Some(marriage.wife)) {
                assert!(child.born_on > marriage.on);
            }
        }
    }

    #[test]
    fn some_are_not_registered_and_every_community_is_there() {
        let all = Population::generate(1, 10_000);
        let missing = all.people.iter().filter(|p| !p.registered).count();
        assert!((30..600).contains(&missing), "{missing}");
        for community in [Community::Albanian, Community::Serbian, Community::Turkish] {
            assert!(all.people.iter().any(|p| p.community == community));
        }
    }

    #[test]
    fn numbers_of_things_are_distinct_and_owners_exist() {
        let all = Population::generate(5, 10_000);
        let unirefs: HashSet<&str> = all.invoices.iter().map(|i| i.uniref.as_str()).collect();
        assert_eq!(unirefs.len(), all.invoices.len());
        let plates: HashSet<&str> = all.vehicles.iter().map(|v| v.plate.as_str()).collect();
        assert_eq!(plates.len(), all.vehicles.len());
        let chassis: HashSet<&str> = all.vehicles.iter().map(|v| v.chassis_number.as_str()).collect();
        assert_eq!(chassis.len(), all.vehicles.len());
        assert!(all.invoices.len() > 1000 && all.vehicles.len() > 1000 && all.businesses.len() > 50);
        assert!(all.vehicles.iter().any(|v| matches!(v.owner, Owner::Business(_))));
        for invoice in &all.invoices {
            assert!(invoice.person < all.people.len());
            assert!(invoice.total_cents() >= 0 && invoice.paid_cents <= invoice.total_cents());
        }
    }
}
