//! A real Prometheus, for one test: on a free port, in a folder that goes with it.

use std::{net::SocketAddr, process::Stdio};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use super::rules;
use crate::world::patient;

/// A Prometheus that runs.
pub struct Prometheus {
    child: Child,
    address: String,
    dir: tempfile::TempDir,
}

impl Prometheus {
    /// Starts one that reads a gateway's numbers and has the operators' rules, but waits for nothing: what
    /// holds at one look is told.
    pub async fn start(gateway: SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let impatient = rules::rules().lines().filter(|line| !line.trim().starts_with("for: ")).fold(
            String::new(),
            |mut text, line| {
                text.push_str(line);
                text.push('\n');
                text
            },
        );
        std::fs::write(dir.path().join("ura.rules.yml"), impatient).unwrap();
        let sample = std::fs::read_to_string(rules::folder().join("prometheus.yml")).unwrap();
        let config = sample.replace("127.0.0.1:7401", &gateway.to_string()).replace("15s", "100ms");
        assert_ne!(config, sample);
        std::fs::write(dir.path().join("prometheus.yml"), config).unwrap();
        let program = std::env::var_os("URA_TEST_PROMETHEUS").expect("eval \"$(./test tools)\"");
        let mut child = Command::new(program)
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg("--web.listen-address=127.0.0.1:0")
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let address = patient(async {
            let mut address = None;
            loop {
                let Some(line) = lines.next_line().await.unwrap() else {
                    panic!("it ended:\n{}", said.join("\n"));
                };
                if let Some((_, found)) = line.split_once("msg=\"Listening on\" address=") {
                    address = Some(found.to_owned());
                }
                let ready = line.contains("Server is ready");
                said.push(line);
                if let Some(address) = address.take_if(|_| ready) {
                    return address;
                }
            }
        })
        .await;
        // It must not stop for want of a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, address, dir }
    }

    /// An answer of its API.
    pub async fn get(&self, path: &str) -> Value {
        let text = reqwest::get(format!("http://{}/api/v1/{path}", self.address)).await.unwrap();
        let answer: Value = serde_json::from_str(&text.text().await.unwrap()).unwrap();
        assert_eq!(answer["status"], "success", "{answer}");
        answer["data"].clone()
    }

    /// What a query gives now: each series' labels, and its value.
    pub async fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let data = self.get(&format!("query?query={escaped}")).await;
        let series = data["result"].as_array().unwrap().iter();
        series
            .map(|one| (one["metric"].clone(), one["value"][1].as_str().unwrap().parse().unwrap()))
            .collect()
    }

    /// Waits until a query gives something.
    pub async fn when(&self, query: &str) -> Vec<(Value, f64)> {
        patient(async {
            loop {
                let found = self.query(query).await;
                if !found.is_empty() {
                    return found;
                }
            }
        })
        .await
    }

    /// Waits until an alert fires; gives it with its labels and its texts.
    pub async fn firing(&self, alert: &str) -> Value {
        patient(async {
            loop {
                let data = self.get("alerts").await;
                let all = data["alerts"].as_array().unwrap();
                let is_it = |one: &&Value| one["labels"]["alertname"] == alert && one["state"] == "firing";
                if let Some(found) = all.iter().find(is_it) {
                    return found.clone();
                }
            }
        })
        .await
    }

    /// The alerts that fire now.
    pub async fn all_firing(&self) -> Vec<String> {
        let data = self.get("alerts").await;
        let all = data["alerts"].as_array().unwrap();
        all.iter().map(|one| one["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    }

    /// Ends it.
    pub async fn end(mut self) {
        self.child.kill().await.unwrap();
        self.dir.close().unwrap();
    }
}
