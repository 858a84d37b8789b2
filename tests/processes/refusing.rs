//! A gateway that must not start: exit code 1, and a message that says what to mend.

use std::fs;

use crate::{
    bus::sample,
    process::Process,
    world::{TRUST_DOMAIN, issue, now},
};

/// A folder in which a gateway would start.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let authority = ura_certs::Authority::init(&dir.path().join("authority"), TRUST_DOMAIN, now())
            .expect("an authority");
        issue(&authority, dir.path(), "ais/gateway", &["localhost"]);
        issue(&authority, dir.path(), "ais/portal", &[]);
        Self(dir)
    }

    fn config(&self) -> String {
        format!(
            "listen = \"127.0.0.1:0\"\nidentity = \"pki/ais-gateway\"\ndirectory = \"{}\"\n\
             [evidence]\nstore = \"sqlite:evidence.db\"\nkeys = \"keys\"\nlog_keys = \"log-keys\"\norigin = \"ura.test/gateway\"\n",
            sample("directory.toml").display()
        )
    }

    /// Starts a gateway on this configuration.
    fn start(&self, config: &str) -> Process {
        let path = self.0.path().join("gateway.toml");
        fs::write(&path, config).expect("a configuration");
        Process::ura("gateway", &path, &[])
    }

    /// Starts a gateway on this configuration and waits for its end: exit code and what it wrote.
    async fn run(&self, config: &str) -> (Option<i32>, String) {
        let mut gateway = self.start(config);
        if gateway.said(&["the gateway listens"]).await.is_some() {
            gateway.signal("TERM");
        }
        let code = gateway.ended().await.code();
        (code, gateway.lines().join("\n"))
    }

    /// Expects exit code 1 and all these parts in what it wrote.
    async fn refused(&self, config: &str, parts: &[&str]) {
        let (code, text) = self.run(config).await;
        assert_eq!(code, Some(1), "{text}");
        assert!(!text.contains("the gateway listens"), "{text}");
        for part in parts {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
    }
}

#[tokio::test]
async fn a_sound_configuration_starts() {
    let folder = Folder::new();
    let (code, text) = folder.run(&folder.config()).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("the gateway listens"), "{text}");
}

#[tokio::test]
async fn a_store_that_does_not_sync_is_refused() {
    let folder = Folder::new();
    for (setting, problem) in [
        ("synchronous=off", "synchronous = OFF"),
        ("synchronous=normal", "synchronous = NORMAL"),
        ("journal_mode=memory", "journal_mode = memory"),
        ("journal_mode=off", "journal_mode = off"),
    ] {
        let config = folder.config().replace("evidence.db", &format!("evidence.db?{setting}"));
        folder.refused(&config, &["does not sync", problem, "remove the setting"]).await;
    }
    // The same folder without the setting is fine.
    assert_eq!(folder.run(&folder.config()).await.0, Some(0));
}

#[tokio::test]
async fn a_log_that_another_gateway_writes_is_refused_while_that_one_lives() {
    let folder = Folder::new();
    let first = folder.start(&folder.config());
    first.says(&["the gateway listens"]).await;
    let process = format!("/{}/", first.pid());
    let told = ["log `ura.test/gateway` is in use by process", &process, "--take-over"];
    folder.refused(&folder.config(), &told).await;
    assert!(!first.has_ended(), "it is not disturbed");
    first.kill();
    assert_eq!(folder.run(&folder.config()).await.0, Some(0), "a dead process holds nothing");
}

#[tokio::test]
async fn every_error_of_a_directory_is_told_with_its_place() {
    let folder = Folder::new();
    let text = fs::read_to_string(sample("directory.toml")).expect("the sample");
    let proto = sample("../proto");
    let broken = text
        .replace("../proto", &proto.display().to_string())
        .replacen("provider = \"atk/property-tax\"", "provider = \"atk/weather\"", 1)
        .replacen("purposes = [\"vehicle-documents\"]", "purposes = [\"curiosity\"]", 1);
    let path = folder.0.path().join("directory.toml");
    fs::write(&path, &broken).expect("a directory");
    let place = |part: &str| {
        let at = broken.lines().position(|line| line.contains(part)).expect("it stands there") + 1;
        format!("directory.toml:{at}:")
    };
    let places = ["atk/weather", "curiosity"].map(place);
    let config = folder.config().replace(&sample("directory.toml").display().to_string(), "directory.toml");
    folder.refused(&config, &places.each_ref().map(String::as_str)).await;
    // What cannot be read at all, a level below.
    let broken =
        text.replacen("roles = [\"gateway\"]", "roles = [\"boss\"]", 1).replacen("legal_basis", "basis", 1);
    fs::write(&path, &broken).expect("a directory");
    let line = |part: &str| broken.lines().position(|line| line.contains(part)).expect("it stands there") + 1;
    let places = [line("boss"), line("basis")].map(|at| format!("directory.toml:{at}:"));
    folder.refused(&config, &places.each_ref().map(String::as_str)).await;
}

#[tokio::test]
async fn an_identity_that_is_not_the_gateway_s_is_refused() {
    let folder = Folder::new();
    let config = folder.config();
    let portal = config.replace("pki/ais-gateway", "pki/ais-portal");
    folder.refused(&portal, &["ais/portal", "role gateway", "directory"]).await;
    folder.refused(&config.replace("pki/ais-gateway", "pki/nobody"), &["identity", "pki/nobody"]).await;
}

#[tokio::test]
async fn every_error_of_the_configuration_is_told_with_its_place() {
    let folder = Folder::new();
    let config = folder.config().replace("identity = \"pki/ais-gateway\"\n", "colour = \"red\"\n");
    folder.refused(&config, &["gateway.toml:2:", "colour", "identity"]).await;
    for name in ["keys", "log_keys"] {
        let line = folder
            .config()
            .lines()
            .find(|line| line.starts_with(&format!("{name} = ")))
            .expect("there")
            .to_owned();
        let config = folder.config().replace(&format!("\n{line}\n"), "\n");
        folder.refused(&config, &["gateway.toml:", &format!("`{name}`")]).await;
    }
    let missing = folder.0.path().join("nowhere.toml");
    let mut gateway = Process::ura("gateway", &missing, &[]);
    assert_eq!(gateway.ended().await.code(), Some(1));
    gateway.says(&["nowhere.toml"]).await;
}
