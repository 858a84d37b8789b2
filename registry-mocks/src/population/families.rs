//! People over generations: births, marriages, divorces, deaths. Pure.

use time::{Date, Duration};

use super::{AS_OF, Birthplace, Community, Marriage, Person, PersonId, Sex, stream};
use crate::{
    names::names,
    number,
    places::{ABROAD, address, home},
    rng::Rng,
};

/// Founding couples of one cohort; their descendants marry each other and people from elsewhere.
const COUPLES_PER_COHORT: usize = 6;
/// Generations after the founders.
const GENERATIONS: usize = 4;
/// Days of a year, for ages that need not be exact.
const YEAR_DAYS: i32 = 365;

/// Grows cohort after cohort until there are so many people.
pub(super) fn grow(seed: u64, size: usize) -> (Vec<Person>, Vec<Marriage>) {
    let mut town = Town {
        seed,
        size,
        rng: Rng::of(seed, stream::FAMILIES, 0),
        people: Vec::with_capacity(size),
        marriages: Vec::new(),
    };
    let mut cohort = 0;
    while !town.is_full() {
        town.cohort(cohort);
        cohort += 1;
    }
    (town.people, town.marriages)
}

struct Town {
    seed: u64,
    size: usize,
    rng: Rng,
    people: Vec<Person>,
    marriages: Vec<Marriage>,
}

impl Town {
    fn is_full(&self) -> bool {
        self.people.len() >= self.size
    }

    /// Founders and their descendants.
    fn cohort(&mut self, number: usize) {
        let community = match (number, self.rng.below(100)) {
            (1, _) | (4.., 0..=4) => Community::Serbian,
            (2, _) | (4.., 5..=7) => Community::Turkish,
            _ => Community::Albanian,
        };
        let mut couples = self.founders(community);
        for generation in 1..=GENERATIONS {
            let children = self.children(&couples, generation);
            if self.is_full() {
                return;
            }
            couples = self.marry_off(&children, community);
        }
    }

    /// Couples without parents in the central register.
    fn founders(&mut self, community: Community) -> Vec<Marriage> {
        let families = names(community).family;
        let first = usize::try_from(self.rng.below(1000)).expect("32 bits fit");
        let mut couples = Vec::with_capacity(COUPLES_PER_COHORT);
        for couple in 0..COUPLES_PER_COHORT {
            let born = day(1918, self.rng.between(0, 24 * YEAR_DAYS));
            // Neighbours in the table: distinct families within a cohort.
            let Some(husband) =
                self.newcomer(community, Sex::Male, families[(first + couple) % families.len()], born)
            else {
                break;
            };
            let born = shift(born, self.rng.between(-YEAR_DAYS, 6 * YEAR_DAYS));
            let family = self.rng.pick(families);
            let Some(wife) = self.newcomer(community, Sex::Female, family, born) else { break };
            couples.extend(self.wed(husband, wife));
        }
        couples
    }

    /// Somebody whose parents are not of the population.
    fn newcomer(
        &mut self,
        community: Community,
        sex: Sex,
        family: &'static str,
        born_on: Date,
    ) -> Option<PersonId> {
        let municipality = home(&mut self.rng, community);
        let address = address(&mut self.rng, municipality, community);
        let mother_family_name = family;
        // Those who marry must have lived to do so.
        let lifespan = self.lifespan().max(30 * YEAR_DAYS);
        let given_name = self.given_name(community, sex);
        let registered = !(born_on.year() < 1990 && self.rng.chance(25));
        self.add(Person {
            personal_number: String::new(),
            given_name,
            family_name: family,
            birth_family_name: family,
            community,
            sex,
            born_on,
            died_on: death(born_on, lifespan),
            birthplace: Birthplace::Home(municipality),
            mother: None,
            father: None,
            mother_family_name,
            municipality,
            address,
            registered,
        })
    }

    fn add(&mut self, mut person: Person) -> Option<PersonId> {
        if self.is_full() {
            return None;
        }
        let id = self.people.len();
        person.personal_number = number::personal_number(self.seed, u64::try_from(id).unwrap_or(0));
        self.people.push(person);
        Some(id)
    }

    fn given_name(&mut self, community: Community, sex: Sex) -> &'static str {
        self.rng.pick(match sex {
            Sex::Female => names(community).female,
            Sex::Male => names(community).male,
        })
    }

    /// Days of a life: most die between 58 and 98.
    fn lifespan(&mut self) -> i32 {
        match self.rng.below(1000) {
            0..5 => self.rng.between(0, 4 * YEAR_DAYS),
            5..35 => self.rng.between(20 * YEAR_DAYS, 55 * YEAR_DAYS),
            _ => 58 * YEAR_DAYS + self.rng.between(0, 20 * YEAR_DAYS) + self.rng.between(0, 20 * YEAR_DAYS),
        }
    }

    /// Marries two people, where both live long enough; a new home, and mostly the husband's name for the wife.
    fn wed(&mut self, husband: PersonId, wife: PersonId) -> Option<Marriage> {
        let grown = self.people[husband].born_on.max(self.people[wife].born_on);
        let on = shift(grown, 19 * YEAR_DAYS + self.rng.between(0, 8 * YEAR_DAYS));
        let end = [husband, wife].iter().filter_map(|id| self.people[*id].died_on).min().unwrap_or(AS_OF);
        let apart = self.rng.chance(60).then(|| shift(on, self.rng.between(2 * YEAR_DAYS, 15 * YEAR_DAYS)));
        if on >= end {
            return None;
        }
        let community = self.people[husband].community;
        let municipality = if self.rng.chance(750) {
            self.people[husband].municipality
        } else {
            home(&mut self.rng, community)
        };
        let home_address = address(&mut self.rng, municipality, community);
        let marriage =
            Marriage { husband, wife, on, dissolved_on: apart.filter(|day| *day < end), municipality };
        for id in [husband, wife] {
            self.people[id].municipality = municipality;
            self.people[id].address.clone_from(&home_address);
        }
        if self.rng.chance(850) {
            self.people[wife].family_name = self.people[husband].family_name;
        }
        if marriage.dissolved_on.is_some() {
            self.people[wife].address = address(&mut self.rng, municipality, community);
        }
        self.marriages.push(marriage);
        Some(marriage)
    }

    /// Children of these couples, in the order of the couples and of birth.
    fn children(&mut self, couples: &[Marriage], generation: usize) -> Vec<PersonId> {
        let (fewest, most) = match generation {
            1 => (3, 7),
            2 => (2, 5),
            3 => (1, 4),
            _ => (1, 3),
        };
        let mut all = Vec::new();
        for couple in couples {
            let wanted = self.rng.between(fewest, most);
            let mut born = shift(couple.on, self.rng.between(280, 900));
            for _ in 0..wanted {
                if !self.may_bear(couple, born) {
                    break;
                }
                all.extend(self.child(couple, born));
                born = shift(born, self.rng.between(400, 1700));
            }
        }
        all
    }

    /// Whether this couple can have a child on this day.
    fn may_bear(&self, couple: &Marriage, born: Date) -> bool {
        let (father, mother) = (&self.people[couple.husband], &self.people[couple.wife]);
        let lived = |person: &Person| person.died_on.is_none_or(|died| died > born);
        born <= AS_OF
            && mother.age_on(born) <= 43
            && couple.dissolved_on.is_none_or(|day| day > born)
            && lived(father)
            && lived(mother)
    }

    fn child(&mut self, couple: &Marriage, born_on: Date) -> Option<PersonId> {
        let sex = if self.rng.chance(512) { Sex::Male } else { Sex::Female };
        let community = self.people[couple.husband].community;
        let given_name = self.given_name(community, sex);
        let lifespan = self.lifespan();
        let abroad = born_on.year() > 1975 && self.rng.chance(40);
        let birthplace = if abroad {
            let (town, country) = self.rng.pick(&ABROAD);
            Birthplace::Abroad(town, country)
        } else {
            Birthplace::Home(couple.municipality)
        };
        let registered = !(born_on.year() < 1990 && self.rng.chance(15));
        let (father, mother) = (&self.people[couple.husband], &self.people[couple.wife]);
        let person = Person {
            personal_number: String::new(),
            given_name,
            family_name: father.birth_family_name,
            birth_family_name: father.birth_family_name,
            community,
            sex,
            born_on,
            died_on: death(born_on, lifespan),
            birthplace,
            mother: Some(couple.wife),
            father: Some(couple.husband),
            mother_family_name: mother.family_name,
            municipality: couple.municipality,
            address: father.address.clone(),
            registered,
        };
        self.add(person)
    }

    /// Pairs the grown children of a cohort, with each other or with somebody from elsewhere.
    fn marry_off(&mut self, children: &[PersonId], community: Community) -> Vec<Marriage> {
        let mut couples = Vec::new();
        let of = |town: &Self, sex| -> Vec<PersonId> {
            children.iter().copied().filter(|id| town.people[*id].sex == sex && town.may_marry(*id)).collect()
        };
        let mut women = of(self, Sex::Female);
        for man in of(self, Sex::Male) {
            if !self.rng.chance(850) {
                continue;
            }
            let match_at = women.iter().position(|woman| self.suits(man, *woman));
            let wife = match match_at {
                Some(at) if self.rng.chance(600) => Some(women.swap_remove(at)),
                _ => self.stranger(man, community, Sex::Female),
            };
            couples.extend(wife.and_then(|wife| self.wed(man, wife)));
        }
        for woman in women {
            if self.rng.chance(800)
                && let Some(man) = self.stranger(woman, community, Sex::Male)
            {
                couples.extend(self.wed(man, woman));
            }
        }
        couples
    }

    fn may_marry(&self, id: PersonId) -> bool {
        let person = &self.people[id];
        person.died_on.unwrap_or(AS_OF) > shift(person.born_on, 20 * YEAR_DAYS)
    }

    /// Near in age and of another family: nobody marries into the own clan.
    fn suits(&self, man: PersonId, woman: PersonId) -> bool {
        let (man, woman) = (&self.people[man], &self.people[woman]);
        let apart = woman.born_on.year() - man.born_on.year();
        (-3..=9).contains(&apart) && man.birth_family_name != woman.birth_family_name
    }

    /// A spouse from elsewhere for this person.
    fn stranger(&mut self, of: PersonId, community: Community, sex: Sex) -> Option<PersonId> {
        let own = &self.people[of];
        let (years, own_family, own_born) =
            (if sex == Sex::Female { (-1, 6) } else { (-6, 1) }, own.birth_family_name, own.born_on);
        let born = shift(own_born, self.rng.between(years.0 * YEAR_DAYS, years.1 * YEAR_DAYS));
        let families = names(community).family;
        let mut family = self.rng.pick(families);
        while family == own_family {
            family = self.rng.pick(families);
        }
        self.newcomer(community, sex, family, born)
    }
}

/// A day so many days after the first of January of this year.
fn day(year: i32, days: i32) -> Date {
    shift(Date::from_ordinal_date(year, 1).expect("a year of the 20th century"), days)
}

/// A day so many days later.
fn shift(from: Date, days: i32) -> Date {
    from.saturating_add(Duration::days(i64::from(days)))
}

/// The day on which a life of so many days ended.
fn death(born_on: Date, lifespan: i32) -> Option<Date> {
    Some(shift(born_on, lifespan)).filter(|day| *day <= AS_OF)
}
