//! Businesses and vehicles. Pure.

use time::Date;

use super::{AS_OF, Person, PersonId, Sex, stream};
use crate::{number, places::MUNICIPALITIES, rng::Rng};

/// One business for so many people.
const PEOPLE_PER_BUSINESS: usize = 40;

/// A registered business.
#[derive(Clone, Debug)]
pub struct Business {
    /// Unique number (NUI), 9 digits.
    pub number: String,
    /// Registered name.
    pub name: String,
    /// Municipality, position in the table.
    pub municipality: usize,
    /// Address in one line.
    pub address: String,
}

/// Who a vehicle belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A person.
    Person(PersonId),
    /// A business, by position.
    Business(usize),
}

/// What is built: maker, model, codes of the chassis number, category, fuel, engine.
#[derive(Debug)]
pub struct VehicleKind {
    /// Maker.
    pub make: &'static str,
    /// Commercial name.
    pub model: &'static str,
    /// First three characters of the chassis number.
    pub(crate) maker: &'static str,
    /// Next five.
    pub(crate) code: &'static str,
    /// EU category.
    pub category: &'static str,
    /// Fuel as the register writes it.
    pub fuel: &'static str,
    /// Engine capacity in cm³; 0 where it has none.
    pub engine_cm3: u32,
    /// Power in kW.
    pub power_kw: u32,
}

/// A registered vehicle.
#[derive(Clone, Debug)]
pub struct Vehicle {
    /// Plate, for example `01-101-AA`.
    pub plate: String,
    /// Chassis number, 17 characters.
    pub chassis_number: String,
    /// What is built.
    pub kind: &'static VehicleKind,
    /// Colour in Albanian.
    pub colour: &'static str,
    /// Year of manufacture.
    pub year: i32,
    /// First registration.
    pub first_registered_on: Date,
    /// Last day on which the registration is valid.
    pub valid_until: Date,
    /// Whether it was deregistered.
    pub deregistered: bool,
    /// 0 none, 1 sale ban, 2 seized, 3 stolen.
    pub restriction: u8,
    /// Whose it is.
    pub owner: Owner,
}

#[allow(clippy::too_many_arguments)] // a row of the table below
const fn kind(
    make: &'static str,
    model: &'static str,
    maker: &'static str,
    code: &'static str,
    category: &'static str,
    fuel: &'static str,
    engine_cm3: u32,
    power_kw: u32,
) -> VehicleKind {
    VehicleKind { make, model, maker, code, category, fuel, engine_cm3, power_kw }
}

static CARS: [VehicleKind; 13] = [
    kind("Volkswagen", "Golf", "WVW", "ZZZ1K", "M1", "DIZEL", 1896, 77),
    kind("Volkswagen", "Passat", "WVW", "ZZZ3C", "M1", "DIZEL", 1968, 103),
    kind("Mercedes-Benz", "C 220", "WDD", "20400", "M1", "DIZEL", 2143, 125),
    kind("Audi", "A4", "WAU", "ZZZ8K", "M1", "DIZEL", 1968, 105),
    kind("BMW", "320d", "WBA", "PG510", "M1", "DIZEL", 1995, 130),
    kind("Opel", "Astra", "W0L", "0AHL4", "M1", "BENZIN", 1598, 85),
    kind("Škoda", "Octavia", "TMB", "ZZZ1Z", "M1", "GAZ", 1595, 75),
    kind("Citroën", "C3", "VF7", "FCHFX", "M1", "BENZIN", 1124, 44),
    kind("Renault", "Clio", "VF1", "BR1J0", "M1", "BENZIN", 1149, 55),
    kind("Toyota", "Yaris", "VNK", "KTUD3", "M1", "HIBRID", 1497, 74),
    kind("Volkswagen", "ID.3", "WVW", "ZZZE1", "M1", "ELEKTRIK", 0, 110),
    kind("Piaggio", "Liberty", "ZAP", "C4220", "L3", "BENZIN", 124, 8),
    kind("IMT", "539", "YUG", "53900", "T", "DIZEL", 2500, 29),
];
static LORRIES: [VehicleKind; 4] = [
    kind("Mercedes-Benz", "Sprinter", "WDB", "90663", "N1", "DIZEL", 2143, 95),
    kind("Fiat", "Dobló", "ZFA", "26300", "N1", "DIZEL", 1598, 77),
    kind("MAN", "TGX", "WMA", "06XZZ", "N3", "DIZEL", 12_419, 324),
    kind("Scania", "R 450", "YS2", "R4X20", "N3", "DIZEL", 12_742, 331),
];
const COLOURS: [&str; 7] = ["e zezë", "e bardhë", "hiri", "e kaltër", "e kuqe", "e gjelbër", "argjend"];

/// Businesses of adults, one for [`PEOPLE_PER_BUSINESS`] people.
pub(super) fn businesses(people: &[Person]) -> Vec<Business> {
    people
        .iter()
        .filter(|person| person.is_adult())
        .step_by(PEOPLE_PER_BUSINESS / 2)
        .take(people.len() / PEOPLE_PER_BUSINESS)
        .enumerate()
        .map(|(index, owner)| Business {
            number: number::business_number(u64::try_from(index + 1).unwrap_or(1)),
            name: match index % 3 {
                0 => format!("N.T.P. \"{}\"", owner.birth_family_name),
                1 => format!("{} Trans Sh.p.k.", owner.birth_family_name),
                _ => format!("{} & Bijtë Sh.p.k.", owner.birth_family_name),
            },
            municipality: owner.municipality,
            address: owner.address.clone(),
        })
        .collect()
}

/// Vehicles of adults and businesses. A region whose plates are used up gets no more.
pub(super) fn vehicles(seed: u64, people: &[Person], businesses: &[Business]) -> Vec<Vehicle> {
    let mut fleet = Fleet { rng: Rng::of(seed, stream::VEHICLES, 0), plates: [0; 8], all: Vec::new() };
    for (id, person) in people.iter().enumerate() {
        if !person.is_adult() {
            continue;
        }
        let per_mille = if person.sex == Sex::Male { 480 } else { 220 };
        for _ in 0..2 {
            if fleet.rng.chance(per_mille) {
                fleet.add(Owner::Person(id), person.municipality, &CARS);
            }
        }
    }
    for (at, business) in businesses.iter().enumerate() {
        for _ in 0..fleet.rng.between(1, 4) {
            fleet.add(Owner::Business(at), business.municipality, &LORRIES);
        }
    }
    fleet.all
}

struct Fleet {
    rng: Rng,
    plates: [u64; 8],
    all: Vec<Vehicle>,
}

impl Fleet {
    fn add(&mut self, owner: Owner, municipality: usize, kinds: &'static [VehicleKind]) {
        let region = MUNICIPALITIES[municipality].region;
        let used = &mut self.plates[usize::from(region)];
        if *used >= number::PLATES_PER_REGION {
            return;
        }
        let plate = number::plate(u64::from(region), *used);
        *used += 1;
        let rng = &mut self.rng;
        let at = usize::try_from(rng.below(u32::try_from(kinds.len()).unwrap_or(1))).expect("32 bits fit");
        let kind = &kinds[at];
        let newest = AS_OF.year() - 1;
        let year =
            if kind.fuel == "ELEKTRIK" { rng.between(2020, newest) } else { rng.between(1998, newest) };
        let first = Date::from_ordinal_date(year, 1).unwrap_or(AS_OF);
        let first_registered_on = first.saturating_add(time::Duration::days(i64::from(rng.between(20, 360))));
        let left = if rng.chance(120) { rng.between(-400, -1) } else { rng.between(1, 364) };
        let index = u64::try_from(self.all.len()).unwrap_or(0);
        self.all.push(Vehicle {
            plate,
            chassis_number: number::chassis_number(kind.maker, kind.code, year, index),
            kind,
            colour: rng.pick(&COLOURS),
            year,
            first_registered_on,
            valid_until: AS_OF.saturating_add(time::Duration::days(i64::from(left))),
            deregistered: rng.chance(15),
            restriction: if rng.chance(30) { u8::try_from(rng.between(1, 3)).unwrap_or(0) } else { 0 },
            owner,
        });
    }
}
