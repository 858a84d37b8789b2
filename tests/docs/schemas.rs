//! Tables as no one planned them: random names, types, keys and rows, and what a bus must answer of the first row.

use serde_json::{Map, Value, json};

use crate::random::Random;

/// Names of columns, each with its field's name in JSON.
const COLUMNS: [(&str, &str); 28] = [
    ("nr_lejes", "nrLejes"),
    ("EmriPlotë", "emriPlote"),
    ("order", "order"),
    ("select", "select"),
    ("Gjendja e lejes", "gjendjaELejes"),
    ("vlera€", "vlera"),
    ("1viti", "n1viti"),
    ("group", "group"),
    ("user", "user"),
    ("message", "message"),
    ("GJATËSIA", "gjatesia"),
    ("a\"b", "aB"),
    ("optional", "optional"),
    ("repeated", "repeated"),
    ("ç", "c"),
    ("case", "case"),
    ("row", "row"),
    ("consumer", "consumer"),
    ("purpose", "purpose"),
    ("page_size", "pageSize2"),
    ("desc", "desc"),
    ("table", "table"),
    ("it's :name", "itSName"),
    ("$1", "n1"),
    ("back\\slash", "backSlash"),
    ("idempotency_key", "idempotencyKey"),
    ("string", "string"),
    ("true", "true"),
];

/// Names of tables, each with the field's name in JSON where it is the table of parts.
const TABLES: [(&str, &str); 8] = [
    ("licencat", "licencat"),
    ("Lejet e Ndërtimit", "lejetENdertimit"),
    ("KARTELA", "kartela"),
    ("from", "from"),
    ("tbl\"q", "tblQ"),
    ("kushtet", "kushtet"),
    ("Žalbe", "zalbe"),
    ("x.y", "xY"),
];

const TEXTS: [&str; 7] =
    ["Besë Çitaku", "Đorđe O'Brien", "'; drop table x; --", "\\n\t\"", "{\"a\":1}", "日本", " përpara"];

/// A table with its parts and one row of each.
pub struct Schema {
    pub table: String,
    /// Makes the tables.
    pub make: String,
    /// Fills them.
    pub fill: String,
    /// The column that names a subject, and its value as a field.
    pub subject: Option<(String, &'static str, Value)>,
    /// The request that gets the row.
    pub key: Value,
    /// The row as a message.
    pub row: Value,
}

struct Column {
    name: &'static str,
    field: &'static str,
    definition: String,
    literal: String,
    value: Option<Value>,
    names_subjects: bool,
}

impl Schema {
    pub fn new(random: &mut Random) -> Self {
        let mut names = COLUMNS.to_vec();
        let keys = 1 + random.below(2);
        let columns: Vec<Column> =
            (0..keys + random.below(12)).map(|at| column(random, &mut names, at < keys)).collect();
        let mut tables = TABLES.to_vec();
        let (table, _) = pick(random, &mut tables);
        let key: Vec<&Column> = columns.iter().take(keys).collect();
        let list =
            |columns: &[&Column]| columns.iter().map(|c| quoted(c.name)).collect::<Vec<_>>().join(", ");
        let literals =
            |columns: &[&Column]| columns.iter().map(|c| c.literal.clone()).collect::<Vec<_>>().join(", ");
        let definitions: Vec<_> =
            columns.iter().map(|c| format!("{} {}", quoted(c.name), c.definition)).collect();
        let all: Vec<&Column> = columns.iter().collect();
        let mut make = format!(
            "create type gjendja as enum ('në pritje', 'lëshuar'); create domain shifra as text check (value <> '');\n\
             create table {} ({}, primary key ({}));\n",
            quoted(table),
            definitions.join(", "),
            list(&key)
        );
        let mut fill = format!("insert into {} values ({});\n", quoted(table), literals(&all));
        let mut row: Map<String, Value> =
            columns.iter().filter_map(|c| Some((c.field.to_owned(), c.value.clone()?))).collect();
        for _ in 0..random.below(3) {
            let (part, field) = pick(random, &mut tables);
            let links: Vec<_> = (0..keys).map(|at| format!("ref_{at}")).collect();
            let link = |(at, c): (usize, &&Column)| format!("ref_{at} {}", c.definition);
            let types: Vec<_> = key.iter().enumerate().map(link).collect();
            make.push_str(&format!(
                "create table {} ({}, pos integer not null, teksti text not null, primary key (pos, {}), foreign key ({}) references {} ({}));\n",
                quoted(part), types.join(", "), links.join(", "), links.join(", "), quoted(table), list(&key)
            ));
            let mut parts = Vec::new();
            for pos in 1..=1 + random.below(3) {
                let text = TEXTS[random.below(TEXTS.len())];
                let at = literals(&key);
                fill.push_str(&format!(
                    "insert into {} values ({at}, {pos}, {});\n",
                    quoted(part),
                    literal(text)
                ));
                parts.push(json!({ "pos": pos, "teksti": text }));
            }
            // A field of the row may have the name already.
            let mut free = (1..).map(|n| if n == 1 { field.to_owned() } else { format!("{field}{n}") });
            let free = free.find(|name| !columns.iter().any(|c| c.field == name)).expect("endless");
            row.insert(free, Value::Array(parts));
        }
        let subject = columns.iter().find(|c| c.names_subjects && c.value.is_some());
        let subject = subject.filter(|_| random.below(3) > 0);
        Self {
            table: table.to_owned(),
            make,
            fill,
            subject: subject.map(|c| (c.name.to_owned(), c.field, c.value.clone().expect("looked at"))),
            key: key.iter().map(|c| (c.field.to_owned(), c.value.clone().expect("a key"))).collect(),
            row: Value::Object(row),
        }
    }
}

/// Takes one of the list, so that none comes twice.
fn pick<T>(random: &mut Random, list: &mut Vec<T>) -> T {
    list.swap_remove(random.below(list.len()))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn column(random: &mut Random, names: &mut Vec<(&'static str, &'static str)>, is_key: bool) -> Column {
    let (name, field) = pick(random, names);
    let number = 1 + random.below(30_000);
    let text = TEXTS[random.below(TEXTS.len())];
    let of_march = 1 + random.below(28);
    let day = format!("2026-03-{of_march:02}");
    let date = json!({ "year": 2026, "month": 3, "day": of_march });
    let quoted_day = literal(&day);
    // The first six may be keys.
    let kinds: [(&str, String, Value); 22] = [
        ("integer", number.to_string(), json!(number)),
        ("bigint", format!("{number}000000000"), json!(format!("{number}000000000"))),
        ("text", literal(text), json!(text)),
        ("varchar(60)", literal(text), json!(text)),
        (
            "uuid",
            "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'".to_owned(),
            json!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ),
        ("date", quoted_day, date),
        ("smallint", number.to_string(), json!(number)),
        ("boolean", "true".to_owned(), json!(true)),
        ("numeric(12,2)", format!("{number}.30"), json!(format!("{number}.30"))),
        ("numeric(10)", number.to_string(), json!(number.to_string())),
        ("numeric", format!("{number}.5"), json!(format!("{number}.5"))),
        ("timestamptz", format!("'{day} 10:30:00+01'"), json!(format!("{day}T09:30:00Z"))),
        ("timestamp", format!("'{day} 10:30:00'"), json!(format!("{day}T10:30:00Z"))),
        (
            "double precision",
            format!("{number}.5"),
            json!(f64::from(u32::try_from(number).expect("small")) + 0.5),
        ),
        ("bytea", "'\\x00ff10'".to_owned(), json!("AP8Q")),
        ("jsonb", "'{\"a\":1}'".to_owned(), json!("{\"a\": 1}")),
        ("text[]", format!("array[{}, 'b']", literal(text)), json!([text, "b"])),
        ("inet", "'10.1.2.3'".to_owned(), json!("10.1.2.3/32")),
        ("interval", "'2 days'".to_owned(), json!("2 days")),
        ("gjendja", "'lëshuar'".to_owned(), json!("lëshuar")),
        ("shifra", literal(text), json!(text)),
        ("time", "'10:30:00'".to_owned(), json!("10:30:00")),
    ];
    let at = random.below(if is_key { 6 } else { kinds.len() });
    let (sql, mut literal, value) = kinds[at].clone();
    let mut value = Some(value);
    let mut definition = sql.to_owned();
    if is_key || random.below(2) == 0 {
        definition.push_str(" not null");
    } else if random.below(3) == 0 {
        (literal, value) = ("null".to_owned(), None);
    }
    Column { name, field, definition, literal, value, names_subjects: matches!(at, 0..=4 | 6 | 9) }
}
