//! Given and family names by community. Pure tables; every letter is in normalisation form C.

/// Community that a family's names come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Community {
    /// Albanian.
    Albanian,
    /// Serbian.
    Serbian,
    /// Turkish.
    Turkish,
}

/// Names of a community.
pub(crate) struct Names {
    pub(crate) male: &'static [&'static str],
    pub(crate) female: &'static [&'static str],
    pub(crate) family: &'static [&'static str],
}

const ALBANIAN: Names = Names {
    male: &[
        "Agim",
        "Arbër",
        "Ardian",
        "Arsim",
        "Avni",
        "Bajram",
        "Besnik",
        "Blerim",
        "Burim",
        "Çerçiz",
        "Dardan",
        "Driton",
        "Enis",
        "Ermal",
        "Fatmir",
        "Fëllanz",
        "Gëzim",
        "Genc",
        "Hasan",
        "Ilir",
        "Isa",
        "Jeton",
        "Kreshnik",
        "Kushtrim",
        "Labinot",
        "Leotrim",
        "Lulëzim",
        "Mërgim",
        "Muhamet",
        "Naim",
        "Përparim",
        "Qëndrim",
        "Ramë",
        "Rrustem",
        "Sami",
        "Shkëlzen",
        "Shpend",
        "Valon",
        "Visar",
        "Xhavit",
        "Ylber",
        "Zenel",
    ],
    female: &[
        "Adelinë",
        "Afërdita",
        "Albulena",
        "Arbnora",
        "Ardita",
        "Arta",
        "Besa",
        "Besarta",
        "Blerta",
        "Bukurije",
        "Dafina",
        "Donjetë",
        "Drita",
        "Elonë",
        "Ëngjëllushe",
        "Fatime",
        "Fjolla",
        "Flutura",
        "Hanëmshahe",
        "Hatixhe",
        "Kaltrinë",
        "Kujtime",
        "Learta",
        "Lendita",
        "Lirie",
        "Lumnije",
        "Mimozë",
        "Mirë",
        "Nazmije",
        "Njomëza",
        "Pranverë",
        "Qëndresa",
        "Rrezarta",
        "Sanije",
        "Shkurte",
        "Shpresë",
        "Teutë",
        "Valbonë",
        "Vjollcë",
        "Yllka",
        "Zanë",
        "Zyrafete",
    ],
    family: &[
        "Ahmeti",
        "Aliu",
        "Avdiu",
        "Bajrami",
        "Balaj",
        "Bardhi",
        "Basha",
        "Berisha",
        "Bërisha",
        "Bytyçi",
        "Çarkaxhiu",
        "Çitaku",
        "Çollaku",
        "Demiri",
        "Dërguti",
        "Dreshaj",
        "Elshani",
        "Fazliu",
        "Ferizi",
        "Gashi",
        "Gërguri",
        "Gjergji",
        "Gjinovci",
        "Hajdari",
        "Halili",
        "Haxhiu",
        "Hoti",
        "Hoxha",
        "Hyseni",
        "Ibrahimi",
        "Ismajli",
        "Jashari",
        "Kastrati",
        "Kelmendi",
        "Këndusi",
        "Krasniqi",
        "Kryeziu",
        "Kurti",
        "Limani",
        "Lladrovci",
        "Maliqi",
        "Mehmeti",
        "Morina",
        "Mulliqi",
        "Musliu",
        "Nimani",
        "Osmani",
        "Pllana",
        "Qerimi",
        "Ramadani",
        "Rexhepi",
        "Rrahmani",
        "Rugova",
        "Sadiku",
        "Selimi",
        "Shala",
        "Shatri",
        "Shehu",
        "Sopjani",
        "Thaçi",
        "Topalli",
        "Ukaj",
        "Veliu",
        "Vokshi",
        "Xhaka",
        "Ymeri",
        "Zeka",
        "Zogaj",
    ],
};

const SERBIAN: Names = Names {
    male: &[
        "Aleksandar",
        "Blagoje",
        "Boško",
        "Bratislav",
        "Čedomir",
        "Dejan",
        "Đorđe",
        "Dragiša",
        "Goran",
        "Ljubiša",
        "Miloš",
        "Momčilo",
        "Nebojša",
        "Nenad",
        "Ognjen",
        "Predrag",
        "Radiša",
        "Siniša",
        "Slaviša",
        "Srđan",
        "Stefan",
        "Uroš",
        "Vučko",
        "Žarko",
        "Živorad",
    ],
    female: &[
        "Anđela",
        "Anica",
        "Biljana",
        "Bojana",
        "Branka",
        "Danijela",
        "Dragana",
        "Đurđica",
        "Gordana",
        "Ivana",
        "Jovanka",
        "Katarina",
        "Ljiljana",
        "Milica",
        "Nataša",
        "Radmila",
        "Ružica",
        "Slađana",
        "Snežana",
        "Tijana",
        "Vesna",
        "Višnja",
        "Živka",
        "Žaklina",
    ],
    family: &[
        "Anđelković",
        "Antić",
        "Bošković",
        "Božović",
        "Čolić",
        "Dančetović",
        "Dimitrijević",
        "Đorđević",
        "Filipović",
        "Ivanović",
        "Janićijević",
        "Jevtić",
        "Kostić",
        "Lazić",
        "Maksimović",
        "Milenković",
        "Mladenović",
        "Nedeljković",
        "Nikolić",
        "Petković",
        "Radovanović",
        "Ristić",
        "Simić",
        "Stojković",
        "Šarić",
        "Šipić",
        "Trajković",
        "Vuković",
        "Zdravković",
        "Žikić",
        "Živković",
    ],
};

const TURKISH: Names = Names {
    male: &[
        "Altay",
        "Barış",
        "Cemil",
        "Çağlar",
        "Ercan",
        "Erdoğan",
        "Fikret",
        "Güner",
        "İbrahim",
        "İskender",
        "Kenan",
        "Levent",
        "Orhan",
        "Özcan",
        "Rıza",
        "Suat",
        "Taner",
        "Ümit",
        "Yaşar",
    ],
    female: &[
        "Ayşe", "Aydan", "Belgin", "Çiğdem", "Esin", "Fatoş", "Gülşen", "Gönül", "Leylâ", "Melike", "Nesrin",
        "Özlem", "Serpil", "Sevgi", "Şükran", "Tülin", "Yıldız",
    ],
    family: &[
        "Bütüç",
        "Çelebi",
        "Curi",
        "Dağ",
        "Galuş",
        "Güçlü",
        "Kabaş",
        "Karahoda",
        "Kovaç",
        "Mazrek",
        "Morina",
        "Safçı",
        "Sağdat",
        "Şala",
        "Taç",
        "Tütüncü",
        "Volkan",
        "Yağcılar",
    ],
};

/// Names of this community.
pub(crate) fn names(community: Community) -> &'static Names {
    match community {
        Community::Albanian => &ALBANIAN,
        Community::Serbian => &SERBIAN,
        Community::Turkish => &TURKISH,
    }
}

/// The search form of a name: capitals A to Z, diacritics taken away, anything else as it is.
pub(crate) fn search_form(name: &str) -> String {
    name.chars()
        .map(|letter| match letter {
            'ë' | 'Ë' => 'E',
            'ç' | 'Ç' | 'č' | 'Č' | 'ć' | 'Ć' => 'C',
            'š' | 'Š' | 'ş' | 'Ş' => 'S',
            'ž' | 'Ž' => 'Z',
            'đ' | 'Đ' => 'D',
            'ğ' | 'Ğ' => 'G',
            'ı' | 'İ' => 'I',
            'ö' | 'Ö' => 'O',
            'ü' | 'Ü' => 'U',
            'â' | 'Â' => 'A',
            other => other.to_ascii_uppercase(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_an_ascii_search_form() {
        for community in [Community::Albanian, Community::Serbian, Community::Turkish] {
            let names = names(community);
            for name in names.male.iter().chain(names.female).chain(names.family) {
                let form = search_form(name);
                assert!(form.bytes().all(|b| b.is_ascii_uppercase()), "{name} gives {form}");
            }
        }
    }

    #[test]
    fn the_letters_that_break_software_are_there() {
        let mut all = String::new();
        for community in [Community::Albanian, Community::Serbian, Community::Turkish] {
            let names = names(community);
            for name in names.male.iter().chain(names.female).chain(names.family) {
                all.push_str(name);
            }
        }
        for letter in "ëËçÇšŠčČžŽđĐćşŞğıİöÖüÜ".chars() {
            assert!(all.contains(letter), "{letter}");
        }
    }
}
