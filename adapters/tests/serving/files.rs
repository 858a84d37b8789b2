//! Adapters made of files only: configuration, adapter file, contract, and a database.

use std::{fs, path::Path};

use ura_adapters::{
    config::Config,
    run::{self, StartError},
};
use ura_runtime::process::Shutdown;

use crate::{
    gateway::{Gateway, exchange},
    pki::{GATEWAY_ID, Pki},
    world::{self, COUNT, CountRequest, CountResponse, ECHO, SAY, SayResponse, say},
};

const ADAPTER_FILE: &str = r#"
contract = "test.v1.EchoService"
proto = "echo.proto"
proto_paths = ["."]

[register]
kind = "sql"
url = "sqlite:DATABASE"

[methods.Say]
sql = "select fjala as text, 'ais/portal' as consumer from fjalet where fjala = :text"
answer = "one"

[methods.Count]
sql = "select numri as number, null as padding from numrat where numri < :numbers order by numri"
answer = "stream"
"#;

async fn database(path: &Path) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.expect("a database");
    for statement in [
        "create table fjalet (fjala text not null)",
        "insert into fjalet values ('përshëndetje')",
        "create table numrat (numri integer not null)",
        "insert into numrat values (0), (1), (2), (3)",
    ] {
        sqlx::query(statement).execute(&pool).await.expect(statement);
    }
    pool.close().await;
}

fn configure(pki: &Pki, gateway: &str, contracts: &[&str]) -> Config {
    let text = format!(
        "system = \"arc/echo\"\nidentity = \"arc-echo\"\ngateway_id = \"{GATEWAY_ID}\"\n\
         gateways = [\"{gateway}\"]\ncontracts = {contracts:?}\n"
    );
    pki.issue("arc/echo");
    Config::parse(&pki.path().join("adapter.toml"), text).expect("valid")
}

#[tokio::test]
async fn an_adapter_needs_no_code() {
    let pki = Pki::new();
    let mut gateway = Gateway::new(&pki);
    world::descriptor_set(&pki);
    let path = pki.path().join("regjistri.db");
    database(&path).await;
    let file = ADAPTER_FILE.replace("DATABASE", &path.display().to_string());
    fs::write(pki.path().join("echo.toml"), file).expect("written");
    let config = configure(&pki, &gateway.address(), &["echo.toml"]);
    let shutdown = Shutdown::new();
    let adapter = run::start(config, shutdown.clone()).await.expect("started");

    let plug = gateway.accept(&[ECHO]).await;
    adapter.plugged_in().await.expect("accepted");
    let reply: SayResponse = plug.unary(SAY, say("përshëndetje")).await.expect("answered");
    assert_eq!(reply.text, "përshëndetje");
    let status = plug.unary::<_, SayResponse>(SAY, say("hello")).await.expect_err("no row");
    assert_eq!(status.code(), tonic::Code::NotFound);
    let request = exchange(CountRequest { numbers: 3 });
    let mut stream = plug.stream::<_, CountResponse>(COUNT, request).await.expect("a stream");
    let mut numbers = Vec::new();
    while let Some(message) = stream.message().await.expect("sent") {
        numbers.push(message.number);
    }
    assert_eq!(numbers, [0, 1, 2]);

    shutdown.drain();
    drop(stream);
    adapter.finished().await;
}

#[tokio::test]
async fn the_mistakes_of_all_files_are_told_at_once() {
    let pki = Pki::new();
    fs::write(pki.path().join("a.toml"), "contract = 7").expect("written");
    let config = configure(&pki, "127.0.0.1:1", &["a.toml", "b.toml"]);
    let error = run::start(config, Shutdown::new()).await.expect_err("two files are wrong");
    assert!(matches!(error, StartError::Contracts(_)));
    let text = error.to_string();
    assert!(text.contains("a.toml:1:") && text.contains("b.toml"), "{text}");
}
