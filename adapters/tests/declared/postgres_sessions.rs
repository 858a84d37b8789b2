//! What a session with PostgreSQL keeps to, whatever the adapter does: TLS, no writes for reads, limits at the server.

use std::{
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpListener, sync::watch};
use tonic::Code;

use crate::{
    fixture::{Folder, Subject},
    pki::Pki,
    server::Postgres,
};

/// `nobody`, as whom the server runs where the tests run as root.
const NOBODY: u32 = 65534;
/// For what does not happen at all where it fails.
const PATIENCE: Duration = Duration::from_secs(60);

async fn client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    client
}

async fn subject(folder: &Folder, url: &str, register: &str, methods: &str) -> Subject {
    let register = format!("kind = \"sql\"\nurl = \"{url}\"\nprobe_ms = 20\n{register}");
    Subject::new(folder.load_some(&register, methods, "sql = \"select 1\"")).await
}

/// A file that the server may read, and nobody else.
fn give(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    if std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0) {
        std::os::unix::fs::chown(path, Some(NOBODY), None).expect("its owner");
    }
}

#[tokio::test]
async fn tls_is_verified_both_ways() {
    let (pki, other) = (Pki::new(), Pki::new());
    let folder = Folder::new();
    let files = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(files.path(), std::fs::Permissions::from_mode(0o755)).expect("its mode");
    let (certificate, key) = pki.issue_into(files.path(), "server");
    let (ca, hba) = (files.path().join("ca.pem"), files.path().join("hba.conf"));
    pki.write(&ca);
    // Nobody gets in without TLS, a certificate of the authority and a password.
    std::fs::write(&hba, "hostssl all all all scram-sha-256 clientcert=verify-ca\n").expect("written");
    [&certificate, &key, &ca, &hba].into_iter().for_each(|path| give(path));
    let setting = |name: &str, path: &Path| format!("{name}={}", path.display());
    let settings = [
        "ssl=on".to_owned(),
        setting("ssl_cert_file", &certificate),
        setting("ssl_key_file", &key),
        setting("ssl_ca_file", &ca),
        setting("hba_file", &hba),
    ];
    let server = Postgres::start(&settings.each_ref().map(String::as_str));
    pki.write(&folder.path().join("ca.pem"));
    other.write(&folder.path().join("other.pem"));
    pki.issue_into(folder.path(), "client");
    other.issue_into(folder.path(), "stranger");
    let methods = "[methods.Get]\nsql = \"select version as given_name, ssl as alive from pg_stat_ssl where pid = pg_backend_pid() and :number <> ''\"";
    let identity = |name: &str| {
        format!("client_identity = {{ certificate_file = \"{name}.pem\", key_file = \"{name}.key\" }}")
    };
    let by_name = server.url().replace("127.0.0.1", "localhost");
    let good = format!("ca_file = \"ca.pem\"\n{}", identity("client"));
    let whole = format!("{by_name}?sslmode=verify-full");
    let subject = subject(&folder, &whole, &good, methods).await;
    subject.register.probe().await.expect("the register");
    assert_eq!(subject.json("Get", r#"{"number":"1"}"#).await, r#"{"given_name":"TLSv1.3","alive":true}"#);
    for (what, url, register) in [
        ("no TLS", format!("{by_name}?sslmode=disable"), String::new()),
        ("another name", format!("{}?sslmode=verify-full", server.url()), good.clone()),
        ("another authority", whole.clone(), good.replace("ca.pem", "other.pem")),
        ("no certificate", whole.clone(), "ca_file = \"ca.pem\"".to_owned()),
        (
            "a stranger's certificate",
            whole.clone(),
            format!("ca_file = \"ca.pem\"\n{}", identity("stranger")),
        ),
    ] {
        let subject = self::subject(&folder, &url, &register, methods).await;
        assert!(!*subject.register.health().borrow(), "{what}");
        let failure = subject.register.probe().await.expect_err(what);
        assert_eq!(failure.reason, "REGISTER_UNAVAILABLE", "{what}");
        assert!(!failure.detail.contains(server.password()), "{what}: {failure}");
    }
}

#[tokio::test]
async fn the_server_knows_the_limits_of_each_method() {
    let server = Postgres::start(&["fsync=off"]);
    let folder = Folder::new();
    let settings = "current_setting('statement_timeout') as given_name, current_setting('transaction_read_only') as number";
    let methods = format!(
        "[methods.Get]\nsql = \"select {settings} where :number <> ''\"\ntimeout_ms = 61234\n\
         [methods.List]\nanswer = \"many\"\nsql = \"select {settings}\"\n\
         [methods.Pay]\nsql = \"select current_setting('statement_timeout') || current_setting('transaction_read_only') as reference\"\ntimeout_ms = 7000\n"
    );
    let subject = subject(&folder, &server.url(), "connections_max = 1\ntimeout_ms = 9000", &methods).await;
    for _ in 0..2 {
        assert_eq!(
            subject.json("Get", r#"{"number":"1"}"#).await,
            r#"{"number":"on","given_name":"61234ms"}"#
        );
        assert_eq!(subject.json("List", "{}").await, r#"{"people":[{"number":"on","given_name":"9s"}]}"#);
        assert_eq!(subject.json("Pay", "{}").await, r#"{"reference":"7soff"}"#);
    }
}

#[tokio::test]
async fn reads_cannot_write_in_any_way() {
    let server = Postgres::start(&["fsync=off"]);
    let control = client(&server.url()).await;
    control
        .batch_execute(
            "create table t (x text); create sequence s;
             create function f() returns text language plpgsql volatile as $$ begin insert into t values ('f'); return 'f'; end $$;
             create function g() returns text language plpgsql volatile as $$
               begin perform set_config('transaction_read_only', 'off', false); insert into t values ('g'); return 'g'; end $$",
        )
        .await
        .expect("a schema");
    let folder = Folder::new();
    let methods = r#"
[methods.Get]
sql = "STATEMENT"
nested.phones.sql = "select :number::text as number"
[methods.List]
answer = "many"
sql = "STATEMENT"
[methods.Export]
sql = ["STATEMENT", "select :count::int as serial"]
"#;
    for statement in [
        "insert into t values ('x') returning x as number",
        "with w as (insert into t values ('x') returning x) select x as number from w",
        "select f() as number",
        "select g() as number",
        "select nextval('s')::text as number",
        "create table u (x text)",
        "set transaction read write",
    ] {
        let subject = subject(&folder, &server.url(), "", &methods.replace("STATEMENT", statement)).await;
        let mut refused = 0;
        for (method, request) in [("Get", r#"{"number":"1"}"#), ("List", "{}")] {
            refused += usize::from(subject.call(method, request).await.is_err());
        }
        refused += usize::from(subject.stream("Export", r#"{"count":1}"#).await.1.is_some());
        // That alone changes nothing where no transaction is open, and writes nothing in any case.
        assert!(refused == 3 || statement.starts_with("set "), "{statement}: {refused} of 3");
        let row = control
            .query_one("select count(*), to_regclass('u') is null from t", &[])
            .await
            .expect("a count");
        assert_eq!((row.get::<_, i64>(0), row.get::<_, bool>(1)), (0, true), "{statement}");
    }
}

/// A way to the server that can go silent: nothing passes any more, nothing is closed, nobody new gets in.
async fn silent_way(port: u16) -> (u16, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let own = listener.local_addr().expect("bound").port();
    let (silence, silent) = watch::channel(false);
    let mut cut = silent.clone();
    tokio::spawn(async move {
        let accept = async {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut silent = silent.clone();
                tokio::spawn(async move {
                    let mut far =
                        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("the server");
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
                        _ = silent.wait_for(|silent| *silent) => {}
                    }
                    // Holds both ends open until the test is over.
                    let _ = silent.wait_for(|silent| !*silent).await;
                });
            }
        };
        tokio::select! {
            () = accept => {}
            _ = cut.wait_for(|silent| *silent) => {}
        }
    });
    (own, silence)
}

#[tokio::test]
async fn a_statement_ends_at_the_server_though_nobody_tells_it() {
    let server = Postgres::start(&["fsync=off"]);
    let control = Arc::new(client(&server.url()).await);
    let config: tokio_postgres::Config = server.url().parse().expect("a url");
    let (port, silence) = silent_way(config.get_ports()[0]).await;
    let url = server.url().replace(&format!(":{}/", config.get_ports()[0]), &format!(":{port}/"));
    let folder = Folder::new();
    let methods = "[methods.Get]\nsql = \"select pg_sleep(3600)::text as number where :number <> ''\"\ntimeout_ms = 1500";
    let subject = subject(&folder, &url, "", methods).await;
    let working = async |wanted: i64| {
        let asked =
            "select count(*) from pg_stat_activity where state = 'active' and query like 'select pg_sleep%'";
        let seen = async {
            while control.query_one(asked, &[]).await.expect("a count").get::<_, i64>(0) != wanted {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("never {wanted} at work"));
    };
    let (failure, ()) = tokio::join!(subject.failure("Get", r#"{"number":"1"}"#), async {
        working(1).await;
        silence.send_replace(true);
    });
    assert_eq!((failure.code, failure.reason), (Code::Unavailable, "REGISTER_TIMEOUT"));
    working(0).await;
    // Its session is still there: the network told the server nothing.
    let still = "select count(*) from pg_stat_activity where application_name = 'ura-adapter' and query like 'select pg_sleep%'";
    assert_eq!(control.query_one(still, &[]).await.expect("a count").get::<_, i64>(0), 1);
    silence.send_replace(false);
}
