//! Versions of contracts, and contracts on their way out.

use super::{super::*, GOOD, PROTO};

/// A directory whose contract has these older versions and the newest, and `more` in its entry.
fn load_versions(older: &[&str], newest: &str, more: &str) -> Result<Loaded, String> {
    let dir = tempfile::tempdir().expect("temporary folder");
    let mut entries = Vec::new();
    for (index, text) in older.iter().enumerate() {
        std::fs::write(dir.path().join(format!("{index}.proto")), text).expect("temporary folder");
        entries.push(format!("{{ proto = \"{index}.proto\" }}"));
    }
    std::fs::write(dir.path().join("t.proto"), newest).expect("temporary folder");
    let older = format!("proto = \"t.proto\"\nolder = [{}]\n{more}", entries.join(", "));
    let path = dir.path().join("directory.toml");
    std::fs::write(&path, GOOD.replace("proto = \"t.proto\"", &older)).expect("temporary folder");
    load(&path).map_err(|refused| refused.errors.to_string())
}

#[test]
fn versions_stand_together_unless_a_newer_one_breaks_an_older() {
    let second = PROTO.replace("string id = 1;", "string id = 1; int32 count = 2;");
    let third = second.replace("message M", "message N {} message M");
    let loaded = load_versions(&[PROTO, &second], &third, "").expect("each keeps what was before");
    let contract = &loaded.snapshot.contracts["t.v1.S"];
    assert_eq!(contract.older.iter().map(|older| older.label()).collect::<Vec<_>>(), ["0.proto", "1.proto"]);
    assert_eq!(loaded.paths.len(), 4, "every version is watched: {:?}", loaded.paths);
    let other = load_versions(&[PROTO], &third, "").expect("valid");
    assert_ne!(other.snapshot.digest, loaded.snapshot.digest, "the versions are a part of the directory");

    let told = load_versions(&[&third, &second], PROTO, "").expect_err("count is gone");
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 2, "number and name, each once:\n{told}");
    assert!(lines.iter().all(|line| line.contains("it breaks the version of 1.proto: t.proto:")), "{told}");
    assert!(told.contains("field count = 2 is gone; keep it, or write `reserved 2;`"), "{told}");
    let told = load_versions(&[&second, PROTO], &third, "").expect_err("count is gone, and comes back");
    assert!(told.contains("it breaks the version of 0.proto: 1.proto:"), "{told}");
    // What is kept by the one just before and not by the one before that is found, too.
    let [gone, again] = ["", "message X { bytes b = 1; }"].map(|more| format!("{PROTO}{more}"));
    let first = format!("{PROTO}message X {{ string b = 2; }}");
    let told = load_versions(&[&first, &gone], &again, "").expect_err("another X");
    assert!(
        told.contains("it breaks the version of 0.proto: t.proto") && !told.contains("1.proto"),
        "{told}"
    );
    // A field that names a subject must stay, even where it was taken out as the rules want it.
    let import = PROTO.replace("package t.v1;", "package t.v1; import \"ura/v1/annotations.proto\";");
    let named =
        import.replace("string id = 1;", "string id = 1 [(ura.v1.data_subject) = { kind: \"person\" }];");
    let without = import.replace("string id = 1;", "reserved 1; reserved \"id\";");
    let told = load_versions(&[&named], &without, "").expect_err("nobody would be recorded");
    assert!(told.contains("t.v1.M.id names a subject in the version of 0.proto"), "{told}");
    load_versions(&[&import], &without, "").expect("an ordinary field");
    let told = load_versions(&["message"], PROTO, "").expect_err("no contract");
    assert!(told.contains("0.proto"), "{told}");
}

#[test]
fn what_is_deprecated_says_so_in_each_answer() {
    let headers = |proto: &str, more: &str| {
        let loaded = load_versions(&[], proto, more).expect("valid");
        let of = |name: &str| loaded.snapshot.methods[name].deprecated.clone();
        ["/t.v1.S/Read", "/t.v1.S/Write"].map(|name| of(name).map(|v| v.to_str().expect("ASCII").to_owned()))
    };
    assert_eq!(headers(PROTO, ""), [None, None]);
    let method =
        PROTO.replace("rpc Write(M) returns (M);", "rpc Write(M) returns (M) { option deprecated = true; }");
    assert_eq!(headers(&method, ""), [None, Some("of=t.v1.S/Write".to_owned())]);
    let service = PROTO.replace("service S {", "service S { option deprecated = true;");
    assert_eq!(headers(&service, ""), [Some("of=t.v1.S".to_owned()), Some("of=t.v1.S".to_owned())]);
    let dates = "deprecated = { since = 2026-10-01, until = 2027-04-30 }";
    assert_eq!(headers(&method, dates)[1].as_deref(), Some("of=t.v1.S;since=2026-10-01;until=2027-04-30"));
    for (more, told) in [
        ("deprecated = { until = 2026-01-01, since = 2026-01-02 }", "must not be before since"),
        ("deprecated = { since = 2026-01-01T00:00:00Z }", "write a date without a time"),
        ("deprecated = { use = \"t.v1.S\" }", "another contract"),
        ("deprecated = { use = \"t.v2.S\" }", "not in [[contracts]]"),
        ("deprecated = { after = 2026-01-01 }", "after"),
    ] {
        let errors = load_versions(&[], PROTO, more).expect_err(told);
        assert!(errors.contains(told), "{told}:\n{errors}");
    }
}
