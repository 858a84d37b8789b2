//! The table of metrics in docs/operators.md is what a gateway shows.

use std::{collections::BTreeSet, fs, path::Path};

use super::{numbers, pages::Shown};

/// The table as the page should have it.
fn table(shown: &Shown) -> Vec<String> {
    let rows = shown.families.iter().map(|(name, family)| {
        let labels: BTreeSet<_> = family
            .samples
            .iter()
            .flat_map(|sample| sample.labels.keys())
            .filter(|name| *name != "le")
            .collect();
        let labels: Vec<_> = labels.into_iter().map(|label| format!("`{label}`")).collect();
        format!("| `{name}` | {} | {} | {} |", family.kind, labels.join(", "), family.help)
    });
    rows.collect()
}

#[tokio::test]
async fn the_table_of_metrics_is_what_a_gateway_shows() {
    let world = numbers::world().await;
    let portal = world.portal().await;
    assert_eq!(portal.call("Read", &[], &numbers::wish("")).await.status(), 0);
    let counted = |shown: &Shown| shown.samples("ura_exchanges_total").count() == 1;
    let shown = Shown::when(&world, counted).await;
    assert!(shown.families.iter().all(|(_, family)| !family.samples.is_empty()), "{}", shown.text);
    let expected = table(&shown);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operators.md");
    let page = fs::read_to_string(page).unwrap();
    let is_row = |line: &&str| line.starts_with("| `ura_") || line.starts_with("| `process_");
    let written: Vec<_> = page.lines().filter(is_row).collect();
    assert!(written == expected, "the table in docs/operators.md should be:\n{}", expected.join("\n"));
    world.end().await;
}
