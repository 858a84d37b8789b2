//! Complete files on the pages, and the samples in `config/`, are what the programs read.

use std::{fs, path::Path};

use ura_adapters::{config::Config, declared::Declared};
use ura_gateway::{check_directory, config::GatewayConfig};
use ura_proto::{IMPORTS, REGISTER_CONTRACTS};

use crate::page::{blocks, pages, read, root};

/// Writes a file, with the folders above it.
pub fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("in a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

/// Reads a file with the loader of what it is, which its keys tell.
fn load(path: &Path, text: &str) -> Result<(), String> {
    let table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
    let failed = |errors: ura_runtime::config::ConfigErrors| errors.to_string();
    let has = |key: &str| table.contains_key(key);
    if has("register") {
        Declared::load(path).map(drop).map_err(failed)
    } else if has("gateway_id") {
        Config::load(path).map(drop).map_err(failed)
    } else if has("evidence") {
        GatewayConfig::load(path).map(drop).map_err(failed)
    } else if has("version") {
        check_directory(path).map(drop).map_err(failed)
    } else if has("grants") || has("services") {
        // Lines for a directory: added to the sample they make a whole one.
        let whole = path.parent().expect("in a folder").join("config/directory.toml");
        write(&whole, &(read("config/directory.toml") + text));
        check_directory(&whole).map(drop).map_err(failed)
    } else {
        Err("no program reads a file with these keys".to_owned())
    }
}

#[test]
fn complete_files_are_read_by_their_programs() {
    let mut loaded = 0;
    for page in pages() {
        let dir = tempfile::tempdir().expect("temporary folder");
        for (name, text) in IMPORTS.iter().chain(&REGISTER_CONTRACTS) {
            write(&dir.path().join("proto").join(name), text);
        }
        let blocks = blocks(&read(&page));
        let named: Vec<_> = blocks.iter().filter_map(|block| Some((block.file_name()?, block))).collect();
        for (name, block) in &named {
            // What a page takes from the environment is an address.
            let text = block.text.replace("${LICENCES_DB}", "postgres://localhost/licences");
            write(&dir.path().join(name), &text);
        }
        for (name, block) in named.iter().filter(|(_, block)| block.language == "toml") {
            if let Err(problem) = load(&dir.path().join(name), &block.text) {
                panic!("{page}:{}: {name} cannot be read:\n{problem}", block.line);
            }
            loaded += 1;
        }
    }
    assert!(loaded >= 4, "{loaded} complete files were found");
}

#[test]
fn samples_are_read_and_say_the_defaults() {
    let sample = |name: &str| root().join("config").join(name);
    let gateway = GatewayConfig::load(&sample("gateway.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    let dir = tempfile::tempdir().expect("temporary folder");
    let short = dir.path().join("gateway.toml");
    let text = "listen = \"127.0.0.1:7400\"\nidentity = \"i\"\ndirectory = \"d\"\n\
                [evidence]\nstore = \"sqlite:e\"\nkeys = \"k\"\nlog_keys = \"l\"\norigin = \"o\"\n";
    write(&short, text);
    let default = GatewayConfig::load(&short).unwrap_or_else(|errors| panic!("{errors}"));
    let told = |config: &GatewayConfig| {
        format!("{:?}", (&config.limits, &config.listener, &config.telemetry, &config.traces))
    };
    assert_eq!(told(&gateway), told(&default), "config/gateway.toml says that it shows the defaults");
    let evidence = &default.evidence;
    for (name, value) in [
        ("queue_entries_max", evidence.queue_entries_max.to_string()),
        ("batch_entries_max", evidence.batch_entries_max.to_string()),
        ("checkpoint_interval_ms", evidence.checkpoint_interval_ms.to_string()),
        ("seal_after_ms", evidence.seal_after_ms.to_string()),
    ] {
        let line = format!("# {name} = {value} ");
        assert!(read("config/gateway.toml").contains(&line), "config/gateway.toml lacks `{line}`");
    }
    let adapter = Config::load(&sample("adapter.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(adapter.limits, ura_adapters::config::Limits::default());
    check_directory(&sample("directory.toml")).unwrap_or_else(|errors| panic!("{errors}"));
}
