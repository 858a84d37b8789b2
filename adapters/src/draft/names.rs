//! Names of a contract from names of a database. Pure.

use std::collections::HashSet;

/// What stands for letters that names of a contract cannot have. Others are left out.
const PLAIN: [(&str, &str); 14] = [
    ("ëéèêě", "e"),
    ("çčć", "c"),
    ("šśș", "s"),
    ("žźż", "z"),
    ("đď", "d"),
    ("äáàâãå", "a"),
    ("öóòôõő", "o"),
    ("üúùûűů", "u"),
    ("íîïì", "i"),
    ("ñňń", "n"),
    ("ýÿ", "y"),
    ("řŕ", "r"),
    ("ťț", "t"),
    ("ß", "ss"),
];

/// Names that paging gives a meaning of its own.
const PAGING: [&str; 6] =
    ["page_size", "page_token", "page_limit", "page_offset", "page_number", "page_cursor"];

/// `EmriPlotë` and `EMRI PLOTË` as `emri_plote`: ASCII letters, digits and single underscores, a letter first.
pub(super) fn snake(name: &str) -> String {
    let mut out = String::new();
    let mut before = ' ';
    let mut letters = name.chars().peekable();
    while let Some(c) = letters.next() {
        let last_capital = before.is_uppercase() && letters.peek().is_some_and(|next| next.is_lowercase());
        let small = c.to_lowercase().next().unwrap_or(c);
        let plain = PLAIN.iter().find(|(of, _)| of.contains(small)).map(|(_, plain)| *plain);
        if c.is_uppercase() && (before.is_lowercase() || last_capital) {
            out.push('_');
        }
        match plain {
            Some(plain) => out.push_str(plain),
            None if small.is_ascii_alphanumeric() => out.push(small),
            None => out.push('_'),
        }
        before = c;
    }
    let words: Vec<&str> = out.split('_').filter(|word| !word.is_empty()).collect();
    match words.join("_") {
        none if none.is_empty() => "field".to_owned(),
        number if number.starts_with(|c: char| c.is_ascii_digit()) => format!("n{number}"),
        name => name,
    }
}

/// `emri_plote` as `EmriPlote`.
pub(super) fn pascal(snake: &str) -> String {
    let upper = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    snake.split('_').map(upper).collect()
}

/// A name for several; of English, for the others it is as good as any.
pub(super) fn plural(name: &str) -> String {
    match name.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if name.ends_with('s') => name.to_owned(),
        _ => format!("{name}s"),
    }
}

/// Names that are given once in one place.
#[derive(Debug, Default)]
pub(super) struct Given(HashSet<String>);

impl Given {
    /// Names of the fields of one message.
    pub(super) fn fields() -> Self {
        Self(PAGING.iter().map(|name| pascal(name)).collect())
    }

    /// A name for the fields of a message: no other has it, in JSON neither.
    pub(super) fn field(&mut self, of: &str) -> String {
        self.free(&snake(of), "_")
    }

    /// A name for a message.
    pub(super) fn message(&mut self, of: &str) -> String {
        self.free(of, "")
    }

    fn free(&mut self, name: &str, joint: &str) -> String {
        let numbered = (2_u32..).map(|number| format!("{name}{joint}{number}"));
        let found = std::iter::once(name.to_owned()).chain(numbered).find(|name| self.0.insert(pascal(name)));
        found.unwrap_or_else(|| name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_fields() {
        for (of, field) in [
            ("nr_lejes", "nr_lejes"),
            ("NR_LEJES", "nr_lejes"),
            ("EmriPlotë", "emri_plote"),
            ("Emri i Plotë", "emri_i_plote"),
            ("EmriIPlotë", "emri_i_plote"),
            ("NRLejes", "nr_lejes"),
            ("Đorđe Čačak", "dorde_cacak"),
            ("1 viti", "n1_viti"),
            ("__", "field"),
            ("日本", "field"),
            ("a__b_", "a_b"),
            ("vlera€", "vlera"),
        ] {
            assert_eq!(snake(of), field, "{of}");
        }
        assert_eq!(pascal("emri_i_plote"), "EmriIPlote");
    }

    #[test]
    fn names_are_given_once_in_json_too() {
        let mut given = Given::fields();
        let names = ["a_1", "A1", "a 1", "page_size", "PageSize"].map(|name| given.field(name));
        assert_eq!(names, ["a_1", "a1_2", "a_1_3", "page_size_2", "page_size_3"]);
    }

    #[test]
    fn several() {
        for (one, many) in [("Permit", "Permits"), ("Entry", "Entries"), ("Day", "Days"), ("Lejes", "Lejes")]
        {
            assert_eq!(plural(one), many);
        }
    }
}
