//! REST: path, query, headers and JSON.

use super::{
    Place, anything, ask, assert_clean, assert_found, audit, hostile_values, server::Server, subject,
};

const METHOD: &str = r#"
rest = { method = "POST", path = "/v1/{path}/fund", query = { q = "{query}", item = "{items}" }, headers = { "X-Value" = "{header}", "Idempotency-Key" = "{idempotency_key}" }, body = { v = "{body}", t = "para {text} pas", items = "{items}", map = "{map}" } }
"#;

/// A step in the tree of addresses, or none at all.
fn in_a_path(value: &str) -> bool {
    !matches!(value, "" | "." | "..")
}

/// RFC 9110 section 5.5: visible ASCII and blanks between; a receiver strips those at the ends.
fn in_a_header(value: &str) -> bool {
    value.chars().all(|c| matches!(c, ' '..='~')) && value.trim_matches(' ') == value
}

const PLACES: [Place; 9] = [
    Place { name: "path", entry: 0, carries: in_a_path },
    Place { name: "query", entry: 1, carries: anything },
    Place { name: "items", entry: 2, carries: anything },
    Place { name: "header", entry: 3, carries: in_a_header },
    Place { name: "key", entry: 4, carries: in_a_header },
    Place { name: "body", entry: 5, carries: anything },
    Place { name: "text", entry: 6, carries: anything },
    Place { name: "map key", entry: 8, carries: anything },
    Place { name: "map", entry: 9, carries: anything },
];

#[tokio::test]
async fn every_value_arrives_as_it_is() {
    let (seed, values) = hostile_values();
    let mut server = Server::start();
    let register = format!("kind = \"rest\"\nurl = \"http://127.0.0.1:{}\"", server.port);
    let (_folder, subject) = subject(&register, METHOD).await;
    let findings =
        audit(&mut server, &PLACES, &values, async |place, value| ask(&subject, place, value).await).await;
    assert_clean(&findings, seed);
    // An item goes into the body too.
    let items = [Place { name: "items", entry: 7, carries: anything }];
    let findings =
        audit(&mut server, &items, &values, async |place, value| ask(&subject, place, value).await).await;
    assert_clean(&findings, seed);
}

#[tokio::test]
async fn a_mutant_that_concatenates_is_found() {
    let (_, values) = hostile_values();
    let mut server = Server::start();
    let port = server.port;
    let concatenate = async |place: &str, value: &str| {
        let at = |name: &str| if name == place { value } else { "x" };
        let body = format!(
            r#"{{"v":"{}","t":"para x pas","items":["x"],"map":{{"{}":"x"}}}}"#,
            at("body"),
            at("map key")
        );
        let head = format!(
            "POST /v1/{}/fund?q={}&item=x HTTP/1.1\r\nHost: x\r\nX-Value: {}\r\nIdempotency-Key: x\r\nContent-Length: {}\r\n\r\n",
            at("path"),
            at("query"),
            at("header"),
            body.len()
        );
        Server::send(port, (head + &body).as_bytes()).await;
        Ok(())
    };
    let findings = audit(&mut server, &PLACES, &values, concatenate).await;
    assert_found("a concatenating backend", &findings, "path", &["path", "header"]);
    assert_found("a concatenating backend", &findings, "query", &["path", "XML"]);
    assert_found("a concatenating backend", &findings, "header", &["header", "text"]);
    assert_found("a concatenating backend", &findings, "body", &["JSON", "path"]);
    assert_found("a concatenating backend", &findings, "map key", &["JSON"]);

    // One that escapes, but not enough: the slash in a path, and nothing but the quote in JSON.
    let half = async |place: &str, value: &str| {
        let value = value.replace('%', "%25").replace(' ', "%20").replace('?', "%3F").replace('#', "%23");
        let at = |name: &str| if name == place { value.as_str() } else { "x" };
        let body = format!(
            r#"{{"v":"{}","t":"para x pas","items":["x"],"map":{{"x":"x"}}}}"#,
            at("body").replace('"', "\\\"")
        );
        let head = format!(
            "POST /v1/{}/fund?q=x&item=x HTTP/1.1\r\nHost: x\r\nX-Value: x\r\nIdempotency-Key: x\r\nContent-Length: {}\r\n\r\n",
            at("path"),
            body.len()
        );
        Server::send(port, (head + &body).as_bytes()).await;
        Ok(())
    };
    let findings = audit(&mut server, &PLACES, &values, half).await;
    assert_found("a backend that escapes half", &findings, "path", &["path"]);
    assert_found("a backend that escapes half", &findings, "body", &["JSON"]);
}
