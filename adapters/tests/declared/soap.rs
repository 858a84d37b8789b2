//! SOAP 1.1 and 1.2.

use tonic::Code;

use crate::{
    fixture::{Folder, Subject, bytes_of},
    http::{Answer, Asked, Server},
};

const METHODS: &str = r##"
[methods.Get]
soap = { action = "urn:q#Merr", namespace = "urn:q", operation = "Merr", body = { kerkesa = { nr = "{number}", konsumatori = "{consumer}" }, a = "{case}" } }
at = "njeriu"
errors = { "NukUGjet" = "NOT_FOUND", "Client" = "INVALID_ARGUMENT" }
fields.given_name = "emri"
fields.phones = { each = "telefona.tel", fields = { number = "#text", mobile = { from = "@mobil", bool = { "po" = true, "jo" = false } } } }
fields.debt = { from = "borxhi", money = "EUR" }
fields.born_on = { from = "dl", date = "%d/%m/%Y" }

[methods.List]
answer = "many"
soap = { namespace = "urn:q", operation = "Lista" }
at = "njerez.njeri"

[methods.Document]
answer = "chunks"
soap = { namespace = "urn:q", operation = "Dok" }
chunk.from = "pdf"
"##;

async fn subject(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> (Folder, Server, Subject) {
    let server = Server::start(answer).await;
    let folder = Folder::new();
    let register = format!("kind = \"soap\"\nurl = \"{}/ws\"", server.url);
    let declared =
        folder.load_some(&register, METHODS, "soap = { namespace = \"urn:q\", operation = \"X\" }");
    (folder, server, Subject::new(declared).await)
}

fn envelope(status: u16, content: &str) -> Answer {
    let text = format!(
        "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Header/><s:Body>{content}</s:Body></s:Envelope>"
    );
    (status, text.into_bytes())
}

#[tokio::test]
async fn an_operation_is_asked_and_its_answer_mapped() {
    let (_folder, server, subject) = subject(|_| {
        envelope(200, "<q:MerrResponse xmlns:q='urn:q'><q:njeriu><q:number>1</q:number><q:emri>Šp&#235;tim &amp; Đ</q:emri>\
            <q:telefona><q:tel mobil='po'>044</q:tel><q:tel mobil='jo'>038</q:tel></q:telefona><q:borxhi>12.30</q:borxhi>\
            <q:dl>03/04/1980</q:dl><q:kind>citizen</q:kind></q:njeriu></q:MerrResponse>")
    })
    .await;
    let reply = subject.json("Get", r#"{"number":"<1>&"}"#).await;
    assert_eq!(
        reply,
        r#"{"number":"1","given_name":"Špëtim & Đ","born_on":{"year":1980,"month":4,"day":3},"kind":"KIND_CITIZEN","phones":[{"number":"044","mobile":true},{"number":"038"}],"debt":{"currency_code":"EUR","minor_units":"1230"}}"#
    );
    let asked = server.last();
    assert_eq!(asked.line, "POST /ws HTTP/1.1");
    assert_eq!(asked.header("soapaction"), Some("\"urn:q#Merr\""));
    assert_eq!(asked.header("content-type"), Some("text/xml; charset=utf-8"));
    assert!(asked.header("traceparent").is_some());
    assert!(asked.body.contains("<Merr xmlns=\"urn:q\"><kerkesa><nr>&lt;1&gt;&amp;</nr><konsumatori>ais/portal</konsumatori></kerkesa></Merr>"), "{}", asked.body);
}

#[tokio::test]
async fn single_and_missing_elements_are_lists_too() {
    for (content, reply) in [
        ("<r><njerez><njeri><number>1</number></njeri></njerez></r>", r#"{"people":[{"number":"1"}]}"#),
        ("<r><njerez/></r>", "{}"),
        ("<r/>", "{}"),
        ("", "{}"),
    ] {
        let (_folder, _server, subject) = subject(move |_| envelope(200, content)).await;
        assert_eq!(subject.json("List", "{}").await, reply, "{content}");
    }
}

#[tokio::test]
async fn faults_and_nonsense_are_mapped() {
    let fault = |code: &str, detail: &str| {
        format!("<s:Fault><faultcode>{code}</faultcode><faultstring>sekret</faultstring>{detail}</s:Fault>")
    };
    for ((status, body), code, reason) in [
        (
            envelope(
                500,
                &fault("s:Server", "<detail><q:NukUGjet xmlns:q='urn:q'>sekret</q:NukUGjet></detail>"),
            ),
            Code::NotFound,
            "NOT_FOUND",
        ),
        (envelope(500, &fault("s:Client", "")), Code::InvalidArgument, "REGISTER_REFUSED"),
        (envelope(500, &fault("s:Server", "")), Code::Internal, "REGISTER_REFUSED"),
        (envelope(200, "<r/>"), Code::NotFound, "NOT_FOUND"),
        ((503, b"<html>".to_vec()), Code::Unavailable, "REGISTER_UNAVAILABLE"),
        ((200, b"<html/>".to_vec()), Code::DataLoss, "CONTRACT_MISMATCH"),
        ((200, b"nonsense".to_vec()), Code::DataLoss, "CONTRACT_MISMATCH"),
        (
            (200, b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>".to_vec()),
            Code::DataLoss,
            "CONTRACT_MISMATCH",
        ),
        (
            envelope(200, "<r><njeriu><borxhi>1.234</borxhi></njeriu></r>"),
            Code::DataLoss,
            "CONTRACT_MISMATCH",
        ),
    ] {
        let text = String::from_utf8_lossy(&body).into_owned();
        let (_folder, _server, subject) = subject(move |_| (status, body.clone())).await;
        let failure = subject.failure("Get", r#"{"number":"1"}"#).await;
        assert_eq!((failure.code, failure.reason), (code, reason), "{text}: {failure}");
        assert!(!failure.message.contains("sekret") && !failure.detail.contains("sekret"), "{failure}");
    }
}

#[tokio::test]
async fn base64_content_comes_in_pieces() {
    let (_folder, _server, subject) =
        subject(|_| envelope(200, "<r><media_type>application/pdf</media_type><pdf>AAEC\nAw==</pdf></r>"))
            .await;
    let (messages, end) = subject.stream("Document", "{}").await;
    assert!(end.is_none(), "{end:?}");
    assert_eq!(messages.iter().map(|m| bytes_of(m, "content")).collect::<Vec<_>>(), [vec![0, 1, 2, 3]]);
}

#[tokio::test]
async fn soap_1_2_is_asked_and_its_faults_are_mapped() {
    let answer = |status: u16, content: &str| {
        let text = format!(
            "<e:Envelope xmlns:e=\"http://www.w3.org/2003/05/soap-envelope\"><e:Body>{content}</e:Body></e:Envelope>"
        );
        (status, text.into_bytes())
    };
    let fault = |code: &str, subcode: &str, detail: &str| {
        format!(
            "<e:Fault><e:Code><e:Value>e:{code}</e:Value><e:Subcode><e:Value>q:{subcode}</e:Value></e:Subcode></e:Code>\
             <e:Reason><e:Text xml:lang='sq'>sekret</e:Text></e:Reason>{detail}</e:Fault>"
        )
    };
    let detail = "<e:Detail><q:NukUGjet xmlns:q='urn:q'>sekret</q:NukUGjet></e:Detail>";
    for ((status, body), code, reason) in [
        (answer(200, "<r><njeriu><number>1</number></njeriu></r>"), Code::Ok, ""),
        (answer(500, &fault("Receiver", "x", detail)), Code::NotFound, "NOT_FOUND"),
        (answer(400, &fault("Sender", "NukUGjet", "")), Code::NotFound, "NOT_FOUND"),
        (answer(400, &fault("Client", "x", "")), Code::InvalidArgument, "REGISTER_REFUSED"),
        (answer(500, &fault("Receiver", "x", "")), Code::Internal, "REGISTER_REFUSED"),
        // A server that does not speak 1.2 says so in 1.1.
        (
            envelope(500, "<s:Fault><faultcode>s:VersionMismatch</faultcode></s:Fault>"),
            Code::Internal,
            "REGISTER_REFUSED",
        ),
    ] {
        let text = String::from_utf8_lossy(&body).into_owned();
        let server = Server::start(move |_| (status, body.clone())).await;
        let folder = Folder::new();
        let register = format!("kind = \"soap\"\nurl = \"{}/ws\"\nsoap_version = \"1.2\"", server.url);
        let operation = "soap = { namespace = \"urn:q\", operation = \"X\" }";
        let subject = Subject::new(folder.load_some(&register, METHODS, operation)).await;
        match subject.call("Get", r#"{"number":"1"}"#).await {
            Ok(_) => assert_eq!(code, Code::Ok, "{text}"),
            Err(failure) => {
                assert_eq!((failure.code, failure.reason), (code, reason), "{text}: {failure}");
                assert!(
                    !failure.message.contains("sekret") && !failure.detail.contains("sekret"),
                    "{failure}"
                );
            }
        }
        let asked = server.last();
        assert_eq!(
            asked.header("content-type"),
            Some("application/soap+xml; charset=utf-8; action=\"urn:q#Merr\"")
        );
        assert_eq!(asked.header("soapaction"), None);
        assert!(
            asked.body.contains("xmlns:soap=\"http://www.w3.org/2003/05/soap-envelope\""),
            "{}",
            asked.body
        );
    }
}
