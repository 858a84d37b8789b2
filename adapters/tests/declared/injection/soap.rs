//! SOAP: elements, attributes, and names of elements.

use super::{Place, ask, assert_clean, assert_found, audit, hostile_values, server::Server, subject};

const METHOD: &str = r##"
soap = { path = "/ws", action = "urn:t#Pyet", namespace = "urn:t", operation = "Pyet", body = { v = { "@a" = "{header}", "#text" = "{body}" }, t = "para {text} pas", item = "{items}", key = "{idempotency_key}", map = "{map}" } }
"##;

/// Char of XML 1.0 (section 2.2).
fn in_xml(value: &str) -> bool {
    value.chars().all(|c| {
        matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
    })
}

/// NCName, as far as all parsers agree on it.
fn in_a_name(value: &str) -> bool {
    let begins = value.starts_with(|c: char| c.is_alphabetic() || c == '_');
    begins
        && value.chars().all(|c| {
            c < '\u{10000}' && (c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '\u{300}'..='\u{36f}'))
        })
}

const PLACES: [Place; 7] = [
    Place { name: "body", entry: 0, carries: in_xml },
    Place { name: "header", entry: 1, carries: in_xml },
    Place { name: "text", entry: 2, carries: in_xml },
    Place { name: "items", entry: 3, carries: in_xml },
    Place { name: "key", entry: 4, carries: in_xml },
    Place { name: "map key", entry: 5, carries: in_a_name },
    Place { name: "map", entry: 6, carries: in_xml },
];

#[tokio::test]
async fn every_value_arrives_as_it_is() {
    for version in ["1.1", "1.2"] {
        let (seed, values) = hostile_values();
        let mut server = Server::start();
        let register = format!(
            "kind = \"soap\"\nurl = \"http://127.0.0.1:{}\"\nsoap_version = \"{version}\"",
            server.port
        );
        let (_folder, subject) = subject(&register, METHOD).await;
        let findings =
            audit(&mut server, &PLACES, &values, async |place, value| ask(&subject, place, value).await)
                .await;
        assert_clean(&findings, seed);
    }
}

/// Posts this envelope.
async fn post(port: u16, attribute: &str, element: &str, name: &str) {
    let body = format!(
        "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\"><e:Body><Pyet xmlns=\"urn:t\"><v a=\"{attribute}\">{element}</v>\
         <t>para x pas</t><item>x</item><key>x</key><map><{name}>x</{name}></map></Pyet></e:Body></e:Envelope>"
    );
    let head = format!(
        "POST /ws HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    Server::send(port, (head + &body).as_bytes()).await;
}

#[tokio::test]
async fn a_mutant_that_concatenates_is_found() {
    let (_, values) = hostile_values();
    let mut server = Server::start();
    let port = server.port;
    let concatenate = async |place: &str, value: &str| {
        let at = |name: &str| if name == place { value } else { "x" };
        post(port, at("header"), at("body"), at("map key")).await;
        Ok(())
    };
    let findings = audit(&mut server, &PLACES, &values, concatenate).await;
    assert_found("a concatenating backend", &findings, "body", &["XML", "text"]);
    assert_found("a concatenating backend", &findings, "header", &["XML", "JSON"]);
    assert_found("a concatenating backend", &findings, "map key", &["XML", "SQL"]);

    // Markup escaped, and nothing done about what a parser makes of white space.
    let half = async |place: &str, value: &str| {
        let value = value.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
        let at = |name: &str| if name == place { value.as_str() } else { "x" };
        post(port, at("header"), at("body"), "x").await;
        Ok(())
    };
    let findings = audit(&mut server, &PLACES, &values, half).await;
    assert_found("a backend that escapes half", &findings, "body", &["XML"]);
    assert_found("a backend that escapes half", &findings, "header", &["XML"]);
}
