//! The municipalities, their plate regions and streets. Pure tables.

use crate::{names::Community, rng::Rng};

/// A municipality.
#[derive(Debug)]
pub struct Municipality {
    /// Official name in Albanian.
    pub name_sq: &'static str,
    /// Official name in Serbian, Latin script.
    pub name_sr: &'static str,
    /// Region on plates, 1 to 7.
    pub region: u8,
    /// Community that the streets are named by.
    pub(crate) community: Community,
}

const fn place(
    name_sq: &'static str,
    name_sr: &'static str,
    region: u8,
    community: Community,
) -> Municipality {
    Municipality { name_sq, name_sr, region, community }
}

use Community::{Albanian as A, Serbian as S, Turkish as T};

/// All 38 in alphabetical order. `kom_id` and the payee of a UNIREF are the position, from 1.
pub(crate) const MUNICIPALITIES: [Municipality; 38] = [
    place("Deçan", "Dečane", 7, A),
    place("Dragash", "Dragaš", 4, A),
    place("Drenas", "Glogovac", 1, A),
    place("Ferizaj", "Uroševac", 5, A),
    place("Fushë Kosovë", "Kosovo Polje", 1, A),
    place("Gjakovë", "Đakovica", 7, A),
    place("Gjilan", "Gnjilane", 6, A),
    place("Graçanicë", "Gračanica", 1, S),
    place("Hani i Elezit", "Elez Han", 5, A),
    place("Istog", "Istok", 3, A),
    place("Junik", "Junik", 7, A),
    place("Kaçanik", "Kačanik", 5, A),
    place("Kamenicë", "Kamenica", 6, A),
    place("Klinë", "Klina", 3, A),
    place("Kllokot", "Klokot", 6, S),
    place("Leposaviq", "Leposavić", 2, S),
    place("Lipjan", "Lipljan", 1, A),
    place("Malishevë", "Mališevo", 4, A),
    place("Mamushë", "Mamuša", 4, T),
    place("Mitrovicë e Jugut", "Južna Mitrovica", 2, A),
    place("Mitrovicë e Veriut", "Severna Mitrovica", 2, S),
    place("Novobërdë", "Novo Brdo", 1, S),
    place("Obiliq", "Obilić", 1, A),
    place("Partesh", "Parteš", 6, S),
    place("Pejë", "Peć", 3, A),
    place("Podujevë", "Podujevo", 1, A),
    place("Prishtinë", "Priština", 1, A),
    place("Prizren", "Prizren", 4, A),
    place("Rahovec", "Orahovac", 7, A),
    place("Ranillug", "Ranilug", 6, S),
    place("Shtërpcë", "Štrpce", 5, S),
    place("Shtime", "Štimlje", 5, A),
    place("Skënderaj", "Srbica", 2, A),
    place("Suharekë", "Suva Reka", 4, A),
    place("Viti", "Vitina", 6, A),
    place("Vushtrri", "Vučitrn", 2, A),
    place("Zubin Potok", "Zubin Potok", 2, S),
    place("Zveçan", "Zvečan", 2, S),
];

/// Larger towns, where most people live: positions in [`MUNICIPALITIES`].
const TOWNS: [usize; 8] = [26, 26, 27, 3, 24, 5, 6, 35];
/// Places abroad where children of emigrants are born: town and country.
pub(crate) const ABROAD: [(&str, &str); 5] =
    [("München", "DE"), ("Zürich", "CH"), ("Genève", "CH"), ("Göteborg", "SE"), ("Wien", "AT")];

const STREETS_SQ: [&str; 14] = [
    "Adem Jashari",
    "Agim Ramadani",
    "Nënë Tereza",
    "Skënderbeu",
    "Ismail Qemali",
    "Dëshmorët e Kombit",
    "Fehmi Agani",
    "Hasan Prishtina",
    "Lidhja e Prizrenit",
    "28 Nëntori",
    "Xhemajl Mustafa",
    "Çamëria",
    "Mëhalla e Epërme",
    "Zahir Pajaziti",
];
const STREETS_SR: [&str; 7] = [
    "Kralja Petra I",
    "Svetog Save",
    "Vidovdanska",
    "Cara Dušana",
    "Knjaza Miloša",
    "Čika Jovina",
    "Lole Ribara",
];
const STREETS_TR: [&str; 4] = ["Atatürk", "Yunus Emre", "Süleyman Çelebi", "Mehmet Âkif"];

/// Where somebody of this community lives: position in [`MUNICIPALITIES`].
pub(crate) fn home(rng: &mut Rng, community: Community) -> usize {
    if community == Community::Albanian && rng.chance(600) {
        return rng.pick(&TOWNS);
    }
    if community == Community::Turkish && rng.chance(600) {
        return 27;
    }
    loop {
        let at = usize::try_from(rng.below(38)).expect("32 bits fit");
        if MUNICIPALITIES[at].community == community {
            return at;
        }
    }
}

/// An address in one line.
pub(crate) fn address(rng: &mut Rng, municipality: usize, community: Community) -> String {
    let place = &MUNICIPALITIES[municipality];
    let number = 1 + rng.below(140);
    match community {
        Community::Albanian => format!("Rr. {} nr. {number}, {}", rng.pick(&STREETS_SQ), place.name_sq),
        Community::Serbian => format!("Ul. {} br. {number}, {}", rng.pick(&STREETS_SR), place.name_sr),
        Community::Turkish => format!("{} Sok. No. {number}, {}", rng.pick(&STREETS_TR), place.name_sq),
    }
}
