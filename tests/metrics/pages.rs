//! The page of a gateway, as Prometheus's text format has it.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::{World, patient};

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// One family.
#[derive(Clone, Debug, Default)]
pub struct Family {
    pub kind: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

/// A page.
#[derive(Clone, Debug)]
pub struct Shown {
    pub text: String,
    pub families: BTreeMap<String, Family>,
}

impl Shown {
    /// The page of a world's gateway as it is now.
    pub async fn of(world: &World) -> Self {
        let address = world.gateway.as_ref().unwrap().metrics_address().expect("metrics are shown");
        let answer = reqwest::get(format!("http://{address}/metrics")).await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        Self::read(answer.text().await.unwrap())
    }

    /// The page, once it is as wanted: an exchange is counted when its last byte was taken, not before.
    pub async fn when(world: &World, wanted: impl Fn(&Self) -> bool) -> Self {
        patient(async {
            loop {
                let shown = Self::of(world).await;
                if wanted(&shown) {
                    return shown;
                }
            }
        })
        .await
    }

    fn read(text: String) -> Self {
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let mut current = String::new();
        for line in text.lines() {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
                let family = Family { help: help.to_owned(), ..Family::default() };
                assert!(families.insert(name.to_owned(), family).is_none(), "{name} twice");
                current = name.to_owned();
            } else if let Some((name, kind)) =
                line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
            {
                assert_eq!(name, current, "HELP and TYPE stand together");
                families.get_mut(name).unwrap().kind = kind.to_owned();
            } else {
                let sample = sample(line);
                assert!(sample.name.starts_with(&current), "{line} stands under {current}");
                let samples = &mut families.get_mut(&current).expect("a family").samples;
                let same = |known: &Sample| known.name == sample.name && known.labels == sample.labels;
                assert!(!samples.iter().any(same), "{line}: twice");
                samples.push(sample);
            }
        }
        Self { text, families }
    }

    /// The value of a sample with these labels among its own; 0 where there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found: Vec<_> = self.samples(name).filter(|sample| sample.has(labels)).collect();
        assert!(found.len() <= 1, "{name} {labels:?} is not one: {found:?}");
        found.first().map_or(0.0, |sample| sample.value)
    }

    /// Samples of a name.
    pub fn samples<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Sample> {
        self.families.values().flat_map(|family| &family.samples).filter(move |sample| sample.name == name)
    }

    /// Names that a query can ask for.
    pub fn names(&self) -> BTreeSet<&str> {
        self.families.values().flat_map(|family| &family.samples).map(|sample| sample.name.as_str()).collect()
    }
}

impl Sample {
    pub fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.labels.get(*name).is_some_and(|own| own == value))
    }
}

/// Reads one line; no value of a label in these tests has a quote or a comma in it.
fn sample(line: &str) -> Sample {
    let (head, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}: no value"));
    let (name, labels) = head.split_once('{').unwrap_or((head, ""));
    let labels = labels.trim_end_matches('}').split(',').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or_else(|| panic!("{line}: no label"));
        (name.to_owned(), value.trim_matches('"').to_owned())
    });
    Sample {
        name: name.to_owned(),
        labels: labels.collect(),
        value: value.parse().unwrap_or_else(|_| panic!("{line}: no number")),
    }
}
