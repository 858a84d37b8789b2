//! Tables of the civil status database. Pure; `docs/mocks.md` describes them.

use super::rows;
use crate::people::People;

/// The table that marks a database as made by the mocks.
pub(super) const MARK: &str = "regjistri_provues";

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Bytes,
}

/// A value of a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Text(String),
    Integer(i64),
    Bytes(Vec<u8>),
}

/// A table; its first column is the key.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [(&'static str, Kind)],
    pub(super) indexes: &'static [&'static str],
    pub(super) rows: for<'a> fn(&'a People) -> Rows<'a>,
}

/// Rows of a table.
pub(super) type Rows<'a> = Box<dyn Iterator<Item = Vec<Cell>> + Send + 'a>;

use Kind::{Bytes, Integer, Text};

/// All tables.
pub(super) const TABLES: [Table; 7] = [
    Table {
        name: MARK,
        columns: &[("fara", Text), ("numri", Integer), ("versioni", Integer)],
        indexes: &[],
        rows: rows::mark,
    },
    Table {
        name: "komunat",
        columns: &[("kom_id", Integer), ("emri", Text), ("emri_sr", Text)],
        indexes: &[],
        rows: rows::municipalities,
    },
    Table {
        name: "personat",
        columns: &[
            ("nr_personal", Text),
            ("emri", Text),
            ("mbiemri", Text),
            ("emri_k", Text),
            ("mbiemri_k", Text),
            ("gjinia", Text),
            ("dtl", Text),
            ("vendi_lindjes", Text),
            ("shtetesia", Text),
            ("adresa", Text),
            ("kom_id", Integer),
            ("statusi", Text),
        ],
        indexes: &[],
        rows: rows::persons,
    },
    Table {
        name: "akt_lindjes",
        columns: &[
            ("nr_aktit", Integer),
            ("nr_personal", Text),
            ("mbiemri_lindjes", Text),
            ("gjinia_kod", Integer),
            ("dt_lindjes", Text),
            ("vendi", Text),
            ("kom_id", Integer),
            ("shteti", Text),
            ("libri", Text),
            ("faqja", Integer),
            ("nr_rendor", Integer),
            ("dt_regj", Text),
            ("kom_libri", Integer),
            ("nena_nrp", Text),
            ("nena_emri", Text),
            ("nena_mbiemri", Text),
            ("nena_mbiemri_vajz", Text),
            ("babai_nrp", Text),
            ("babai_emri", Text),
            ("babai_mbiemri", Text),
        ],
        indexes: &["nr_personal", "nena_nrp", "babai_nrp"],
        rows: rows::births,
    },
    Table {
        name: "akt_kurorezimit",
        columns: &[
            ("nr_aktit", Integer),
            ("burri_nrp", Text),
            ("gruaja_nrp", Text),
            ("dt_kurorezimit", Text),
            ("dt_zgjidhjes", Text),
            ("kom_id", Integer),
        ],
        indexes: &["burri_nrp", "gruaja_nrp"],
        rows: rows::marriages,
    },
    Table {
        name: "akt_vdekjes",
        columns: &[
            ("nr_aktit", Integer),
            ("nr_personal", Text),
            ("dt_vdekjes", Text),
            ("vendi", Text),
            ("kom_id", Integer),
        ],
        indexes: &["nr_personal"],
        rows: rows::deaths,
    },
    Table {
        name: "dokumentet",
        columns: &[
            ("dok_id", Integer),
            ("nr_personal", Text),
            ("lloji", Text),
            ("tipi", Text),
            ("madhesia", Integer),
            ("permbajtja", Bytes),
            ("dt_leshimit", Text),
        ],
        indexes: &["nr_personal"],
        rows: rows::documents,
    },
];

/// `drop` and `create` of a table, for the dialect whose types these are.
pub(super) fn create(table: &Table, type_of: fn(Kind) -> &'static str) -> String {
    let columns: Vec<String> = table
        .columns
        .iter()
        .enumerate()
        .map(|(at, (name, kind))| {
            let key = if at == 0 { " primary key" } else { "" };
            format!("{name} {}{key}", type_of(*kind))
        })
        .collect();
    format!("drop table if exists {0}; create table {0} ({1})", table.name, columns.join(", "))
}

/// `create index` for every column that is searched by.
pub(super) fn create_indexes(table: &Table) -> String {
    let name = table.name;
    let one = |column: &&str| format!("create index ix_{name}_{column} on {name} ({column});");
    table.indexes.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::population::Population;

    #[test]
    fn every_row_has_a_value_of_its_kind_for_every_column() {
        let people = People::new(Arc::new(Population::generate(1, 400)), 60);
        for table in &TABLES {
            let mut count = 0;
            for row in (table.rows)(&people) {
                count += 1;
                assert_eq!(row.len(), table.columns.len(), "{}", table.name);
                for (cell, (name, kind)) in row.iter().zip(table.columns) {
                    let fits = matches!(
                        (cell, kind),
                        (Cell::Null, _)
                            | (Cell::Text(_), Kind::Text)
                            | (Cell::Integer(_), Kind::Integer)
                            | (Cell::Bytes(_), Kind::Bytes)
                    );
                    assert!(fits, "{}.{name}: {cell:?}", table.name);
                }
            }
            assert!(count > 0, "{}", table.name);
        }
    }

    #[test]
    fn the_same_population_gives_the_same_rows() {
        let rows = || {
            let people = People::new(Arc::new(Population::generate(9, 300)), 300);
            TABLES.iter().flat_map(|table| (table.rows)(&people).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        assert_eq!(rows(), rows());
    }
}
