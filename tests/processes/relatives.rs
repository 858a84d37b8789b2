//! What the civil register must answer, worked out from the mocks' population and not from any SQL.

use std::collections::HashSet;

use serde_json::{Value, json};
use time::Date;
use ura_registry_mocks::population::{Birthplace, Person, PersonId, Population, Sex};

pub fn day(day: Date) -> Value {
    json!({ "year": day.year(), "month": u8::from(day.month()), "day": day.day() })
}

pub fn sex(person: &Person) -> &'static str {
    if person.sex == Sex::Male { "SEX_MALE" } else { "SEX_FEMALE" }
}

/// Registered people that fit, in the order of the population.
pub fn registered<'p>(
    population: &'p Population,
    fits: impl Fn(&Person) -> bool + 'p,
) -> impl Iterator<Item = (PersonId, &'p Person)> {
    population.people.iter().enumerate().filter(move |(_, person)| person.registered && fits(person))
}

/// A registered person whose parents are registered and whose mother is married.
pub fn child(population: &Population) -> (PersonId, &Person) {
    let known = |id: Option<PersonId>| id.is_some_and(|id| population.people[id].registered);
    let fits = move |person: &Person| {
        known(person.mother)
            && known(person.father)
            && person.is_alive()
            && !person.given_name.is_ascii()
            && matches!(person.birthplace, Birthplace::Home(_))
    };
    registered(population, fits).next().expect("a child")
}

/// The birth certificate without its `entry`, which stands in no population but in the books.
pub fn certificate(population: &Population, child: &Person) -> Value {
    let parent = |id: Option<PersonId>| &population.people[id.expect("of the population")];
    let (mother, father) = (parent(child.mother), parent(child.father));
    let Birthplace::Home(place) = child.birthplace else { panic!("born at home") };
    let place = population.municipality(place).name_sq;
    json!({
        "personalNumber": child.personal_number, "givenName": child.given_name, "familyName": child.family_name,
        "birthFamilyName": child.birth_family_name, "sex": sex(child), "bornOn": day(child.born_on),
        "birthPlace": { "settlement": place, "municipality": place, "country": "XK" }, "citizenship": "XK",
        "mother": {
            "givenName": mother.given_name, "familyName": child.mother_family_name,
            "birthFamilyName": mother.birth_family_name,
        },
        "father": { "givenName": father.given_name, "familyName": father.family_name },
    })
}

/// The family as `ListFamilyMembers` must tell it: whom the register knows, in its order.
pub fn family(population: &Population, id: PersonId) -> Vec<Value> {
    let person = &population.people[id];
    let mut found: Vec<(usize, &str, PersonId)> = Vec::new();
    found.extend(person.mother.map(|mother| (1, "MOTHER", mother)));
    found.extend(person.father.map(|father| (2, "FATHER", father)));
    for marriage in &population.marriages {
        let relation = if marriage.dissolved_on.is_some() { "FORMER_SPOUSE" } else { "SPOUSE" };
        if marriage.husband == id {
            found.push((3, relation, marriage.wife));
        } else if marriage.wife == id {
            found.push((3, relation, marriage.husband));
        }
    }
    let parents = |of: &Person| -> HashSet<PersonId> {
        let known = |id: &PersonId| population.people[*id].registered;
        [of.mother, of.father].into_iter().flatten().filter(known).collect()
    };
    for (other, relative) in population.people.iter().enumerate().filter(|(other, _)| *other != id) {
        if parents(relative).contains(&id) {
            found.push((4, "CHILD", other));
        } else if !parents(relative).is_disjoint(&parents(person)) {
            found.push((5, "SIBLING", other));
        }
    }
    found.retain(|(.., id)| population.people[*id].registered);
    found.sort_by_key(|(rank, _, id)| {
        let relative = &population.people[*id];
        (*rank, relative.born_on, relative.personal_number.clone())
    });
    found.into_iter().map(|(_, relation, id)| member(&population.people[id], relation)).collect()
}

fn member(relative: &Person, relation: &str) -> Value {
    let mut member = json!({
        "personalNumber": relative.personal_number, "givenName": relative.given_name,
        "familyName": relative.family_name, "relation": format!("FAMILY_RELATION_{relation}"),
        "sex": sex(relative), "bornOn": day(relative.born_on),
    });
    if let Some(died) = relative.died_on {
        member["diedOn"] = day(died);
    }
    member
}
