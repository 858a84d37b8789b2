//! What something is called, in Albanian, Serbian and English: texts for citizens. Knows neither where
//! they were written nor what they name.

use ura_proto::refusal::Language;

/// Most characters of one text.
pub(crate) const TITLE_CHARS_MAX: usize = 200;

/// A text in the three languages. None of them is empty: what was not written stands in English, and
/// where there is no English either, in the language there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Titles {
    en: Box<str>,
    sq: Box<str>,
    sr: Box<str>,
}

impl Titles {
    /// From the texts as written; what is empty or white space was not written. `None` where nothing was.
    pub(crate) fn of(en: &str, sq: &str, sr: &str) -> Option<Self> {
        let [en, sq, sr] = [en, sq, sr].map(str::trim);
        let fallback = *[en, sq, sr].iter().find(|text| !text.is_empty())?;
        let or = |text: &str| if text.is_empty() { fallback.into() } else { text.into() };
        Some(Self { en: or(en), sq: or(sq), sr: or(sr) })
    }

    /// The text for readers of a language.
    pub(crate) fn get(&self, language: Language) -> &str {
        match language {
            Language::English => &self.en,
            Language::Albanian => &self.sq,
            Language::Serbian => &self.sr,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_written_falls_back() {
        for (en, sq, sr, expected) in [
            ("E", "A", "S", Some(["E", "A", "S"])),
            ("E", "", "S", Some(["E", "E", "S"])),
            ("E", "A", " ", Some(["E", "A", "E"])),
            (" E ", "", "", Some(["E", "E", "E"])),
            ("", "A", "S", Some(["A", "A", "S"])),
            ("", "", "S", Some(["S", "S", "S"])),
            ("", "\t", " ", None),
        ] {
            let titles = Titles::of(en, sq, sr);
            let told = titles.as_ref().map(|titles| {
                [Language::English, Language::Albanian, Language::Serbian].map(|l| titles.get(l))
            });
            assert_eq!(told, expected, "{en:?} {sq:?} {sr:?}");
        }
    }
}
