//! Rows of the civil status tables, each in the forms of its table. Pure.

use std::collections::HashMap;

use time::{Date, Duration};

use super::{
    pdf,
    schema::{Cell, Rows},
};
use crate::{
    names::search_form,
    people::People,
    places::{MUNICIPALITIES, Municipality},
    population::{AS_OF, Birthplace, Person, PersonId, Population, Sex},
    rng::Rng,
};

/// Version of the schema.
const VERSION: i64 = 1;
/// Stream of random numbers for the books.
const BOOKS: u64 = 9;

fn text(value: impl Into<String>) -> Cell {
    Cell::Text(value.into())
}

fn maybe(value: Option<impl Into<String>>) -> Cell {
    value.map_or(Cell::Null, |value| Cell::Text(value.into()))
}

fn integer(value: usize) -> Cell {
    Cell::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

/// `dd<separator>mm<separator>yyyy`.
fn day_first(day: Date, separator: char) -> String {
    format!("{:02}{separator}{:02}{separator}{:04}", day.day(), u8::from(day.month()), day.year())
}

/// `yyyy<separator>mm<separator>dd`.
fn year_first(day: Date, separator: &str) -> String {
    format!("{:04}{separator}{:02}{separator}{:02}", day.year(), u8::from(day.month()), day.day())
}

/// Registered people with their positions.
fn registered(people: &People) -> impl Iterator<Item = (PersonId, &Person)> + Send {
    people.population().people.iter().enumerate().filter(|(_, person)| person.registered)
}

/// Personal number, where the central register has the person.
fn known_number(population: &Population, id: PersonId) -> Cell {
    let person = &population.people[id];
    maybe(person.registered.then_some(person.personal_number.as_str()))
}

/// Town and country of birth.
fn birth_town(person: &Person) -> (&'static str, &'static str) {
    match person.birthplace {
        Birthplace::Home(at) => (MUNICIPALITIES[at].name_sq, "XK"),
        Birthplace::Abroad(town, country) => (town, country),
    }
}

pub(super) fn mark(people: &People) -> Rows<'_> {
    let population = people.population();
    let row =
        vec![text(population.seed.to_string()), integer(population.people.len()), Cell::Integer(VERSION)];
    Box::new(std::iter::once(row))
}

pub(super) fn municipalities(_: &People) -> Rows<'_> {
    let row =
        |(at, place): (usize, &Municipality)| vec![integer(at + 1), text(place.name_sq), text(place.name_sr)];
    Box::new(MUNICIPALITIES.iter().enumerate().map(row))
}

pub(super) fn persons(people: &People) -> Rows<'_> {
    Box::new(registered(people).map(|(_, person)| {
        vec![
            text(&person.personal_number),
            text(person.given_name),
            text(person.family_name),
            text(search_form(person.given_name)),
            text(search_form(person.family_name)),
            text(if person.sex == Sex::Male { "M" } else { "F" }),
            text(day_first(person.born_on, '.')),
            text(birth_town(person).0),
            text("XK"),
            text(&person.address),
            integer(person.municipality + 1),
            text(if person.is_alive() { "A" } else { "V" }),
        ]
    }))
}

/// The parents as the birth entry names them.
struct Parents {
    mother_number: Cell,
    mother: [&'static str; 3],
    father_number: Cell,
    father: Option<[&'static str; 2]>,
}

fn parents(population: &Population, id: PersonId) -> Parents {
    let person = &population.people[id];
    let (Some(mother), Some(father)) = (person.mother, person.father) else {
        let (mother, father) = population.paper_parents(id);
        return Parents {
            mother_number: Cell::Null,
            mother: [mother.given_name, person.birth_family_name, mother.birth_family_name],
            father_number: Cell::Null,
            father: father.map(|father| [father.given_name, father.birth_family_name]),
        };
    };
    let (her, him) = (&population.people[mother], &population.people[father]);
    Parents {
        mother_number: known_number(population, mother),
        mother: [her.given_name, person.mother_family_name, her.birth_family_name],
        father_number: known_number(population, father),
        father: Some([him.given_name, him.family_name]),
    }
}

pub(super) fn births(people: &People) -> Rows<'_> {
    let population = people.population();
    let mut entries = HashMap::<(usize, i32), usize>::new();
    Box::new(registered(people).map(move |(id, person)| {
        let (place, keeper) = match person.birthplace {
            Birthplace::Home(at) => (integer(at + 1), at),
            Birthplace::Abroad(..) => (Cell::Null, person.municipality),
        };
        let entry = entries.entry((keeper, person.born_on.year())).or_default();
        *entry += 1;
        let mut rng = Rng::of(population.seed, BOOKS, u64::try_from(id).unwrap_or(0));
        let registered_on =
            person.born_on.saturating_add(Duration::days(i64::from(rng.between(1, 40)))).min(AS_OF);
        let (town, country) = birth_town(person);
        let parents = parents(population, id);
        vec![
            integer(id + 1),
            text(&person.personal_number),
            text(person.birth_family_name),
            Cell::Integer(if person.sex == Sex::Male { 1 } else { 2 }),
            text(year_first(person.born_on, "")),
            text(town),
            place,
            text(country),
            text(format!("{}/{}", (*entry - 1) / 400 + 1, person.born_on.year())),
            integer((*entry - 1) % 400 / 4 + 1),
            integer(*entry),
            text(day_first(registered_on, '/')),
            integer(keeper + 1),
            parents.mother_number,
            text(parents.mother[0]),
            text(parents.mother[1]),
            text(parents.mother[2]),
            parents.father_number,
            maybe(parents.father.map(|father| father[0])),
            maybe(parents.father.map(|father| father[1])),
        ]
    }))
}

pub(super) fn marriages(people: &People) -> Rows<'_> {
    let population = people.population();
    Box::new(population.marriages.iter().enumerate().map(|(at, marriage)| {
        vec![
            integer(at + 1),
            known_number(population, marriage.husband),
            known_number(population, marriage.wife),
            text(day_first(marriage.on, '/')),
            maybe(marriage.dissolved_on.map(|day| day_first(day, '/'))),
            integer(marriage.municipality + 1),
        ]
    }))
}

pub(super) fn deaths(people: &People) -> Rows<'_> {
    let dead = registered(people).filter_map(|(_, person)| Some((person, person.died_on?)));
    Box::new(dead.enumerate().map(|(at, (person, day))| {
        vec![
            integer(at + 1),
            text(&person.personal_number),
            text(year_first(day, "-")),
            text(MUNICIPALITIES[person.municipality].name_sq),
            integer(person.municipality + 1),
        ]
    }))
}

pub(super) fn documents(people: &People) -> Rows<'_> {
    let with_document = registered(people).filter(|(id, _)| people.has_document(*id));
    Box::new(with_document.map(|(id, person)| {
        let parents = parents(people.population(), id);
        let [mother, _, _] = parents.mother;
        let certificate = pdf::Certificate {
            personal_number: &person.personal_number,
            name: &format!("{} {}", person.given_name, person.family_name),
            born_on: &day_first(person.born_on, '.'),
            birthplace: birth_town(person).0,
            mother: &format!("{mother} {}", parents.mother[1]),
            father: &parents.father.map_or("-".to_owned(), |[given, family]| format!("{given} {family}")),
            scan: crate::has_scan(id),
        };
        let bytes = pdf::birth_certificate(&certificate);
        vec![
            integer(id + 1),
            text(&person.personal_number),
            text("CL"),
            text("application/pdf"),
            integer(bytes.len()),
            Cell::Bytes(bytes),
            text(year_first(AS_OF, "-")),
        ]
    }))
}
