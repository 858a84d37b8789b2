//! Operations as a WSDL describes them.

use crate::{
    fixture::{Folder, Subject},
    http::Server,
};

const TYPES: &str = r#"<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:t" xmlns:t="urn:t"
    elementFormDefault="unqualified">
  <xs:element name="person" type="t:Person"/>
  <xs:complexType name="Base"><xs:sequence><xs:element name="first" type="xs:string"/></xs:sequence><xs:attribute name="id"/></xs:complexType>
  <xs:complexType name="Person"><xs:complexContent><xs:extension base="t:Base"><xs:sequence>
    <xs:element name="second" form="qualified" type="xs:string" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="mother" type="t:Person" minOccurs="0"/>
  </xs:sequence></xs:extension></xs:complexContent></xs:complexType>
</xs:schema>"#;

const WSDL: &str = r#"<?xml version="1.0"?>
<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:s11="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:s12="http://schemas.xmlsoap.org/wsdl/soap12/" xmlns:xs="http://www.w3.org/2001/XMLSchema"
    xmlns:q="urn:q" xmlns:t="urn:t" targetNamespace="urn:q">
  <types>
    <xs:schema targetNamespace="urn:q" elementFormDefault="qualified">
      <xs:import namespace="urn:t" schemaLocation="types.xsd"/>
      <xs:import namespace="urn:far" schemaLocation="http://far.example/far.xsd"/>
      <xs:element name="Kerko"><xs:complexType><xs:sequence>
        <xs:element name="nr" type="xs:string"/>
        <xs:choice><xs:element name="a" type="xs:string"/><xs:element name="b" type="xs:int"/></xs:choice>
        <xs:element ref="t:person" minOccurs="0"/>
      </xs:sequence></xs:complexType></xs:element>
      <xs:element name="Larg"><xs:complexType><xs:sequence><xs:element xmlns:f="urn:far" ref="f:x"/></xs:sequence></xs:complexType></xs:element>
    </xs:schema>
  </types>
  <message name="KerkoIn"><part name="header" type="xs:string"/><part name="body" element="q:Kerko"/></message>
  <message name="LargIn"><part name="body" element="q:Larg"/></message>
  <message name="RpcIn"><part name="nr" type="xs:string"/><part name="who" type="t:Person"/></message>
  <portType name="P">
    <operation name="Kerko"><input message="q:KerkoIn"/></operation>
    <operation name="Larg"><input message="q:LargIn"/></operation>
    <operation name="Rpc"><input message="q:RpcIn"/></operation>
    <operation name="Koduar"><input message="q:RpcIn"/></operation>
  </portType>
  <binding name="Old" type="q:P"><s11:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="Kerko"><s11:operation soapAction="urn:q#Kerko"/><input><s11:body use="literal" parts="body"/></input></operation>
    <operation name="Larg"><s11:operation soapAction=""/><input><s11:body use="literal"/></input></operation>
    <operation name="Rpc"><s11:operation style="rpc" soapAction="urn:q#Rpc"/><input><s11:body use="literal" namespace="urn:rpc"/></input></operation>
    <operation name="Koduar"><s11:operation style="rpc"/><input><s11:body use="encoded"/></input></operation>
  </binding>
  <binding name="New" type="q:P"><s12:binding style="document"/>
    <operation name="Kerko"><s12:operation soapAction="urn:q#Kerko12"/><input><s12:body use="literal" parts="body"/></input></operation>
  </binding>
</definitions>"#;

fn folder() -> Folder {
    let folder = Folder::new();
    std::fs::write(folder.path().join("q.wsdl"), WSDL).expect("written");
    std::fs::write(folder.path().join("types.xsd"), TYPES).expect("written");
    folder
}

/// What is sent for `Get` of this operation: headers and the envelope's body.
async fn sent(version: &str, soap: &str) -> (String, String, String) {
    let server = Server::start(|_| {
        let text = "<e:Envelope xmlns:e='urn:e'><e:Body><r><number>1</number></r></e:Body></e:Envelope>";
        (200, text.as_bytes().to_vec())
    })
    .await;
    let folder = folder();
    let register = format!("kind = \"soap\"\nurl = \"{}\"\nwsdl = \"q.wsdl\"\n{version}", server.url);
    let operation = "soap = { operation = \"Kerko\", body = { nr = \"1\" } }";
    let declared = folder.load_some(&register, &format!("[methods.Get]\n{soap}"), operation);
    let subject = Subject::new(declared).await;
    subject.json("Get", r#"{"number":"7"}"#).await;
    let asked = server.last();
    let (_, body) = asked.body.split_once("<soap:Body>").expect("an envelope");
    let header = |name: &str| asked.header(name).unwrap_or("none").to_owned();
    (
        header("content-type"),
        header("soapaction"),
        body.trim_end_matches("</soap:Body></soap:Envelope>").to_owned(),
    )
}

#[tokio::test]
async fn the_wsdl_says_names_order_and_namespaces() {
    let soap = r##"soap = { operation = "Kerko", body = { person = { mother = { first = "e" }, second = ["b", "c"], first = "{number}", "@id" = "1" }, a = "x", nr = "{number}" } }"##;
    let (kind, action, body) = sent("", soap).await;
    assert_eq!((kind.as_str(), action.as_str()), ("text/xml; charset=utf-8", "\"urn:q#Kerko\""));
    assert_eq!(
        body,
        "<Kerko xmlns=\"urn:q\"><nr>7</nr><a>x</a><person xmlns=\"urn:t\" id=\"1\"><first xmlns=\"\">7</first><second>b</second>\
         <second>c</second><mother xmlns=\"\"><first>e</first></mother></person></Kerko>"
    );
    let soap = r#"soap = { operation = "Kerko", body = { nr = "{number}" } }"#;
    let (kind, action, body) = sent("soap_version = \"1.2\"", soap).await;
    assert_eq!(kind, "application/soap+xml; charset=utf-8; action=\"urn:q#Kerko12\"");
    assert_eq!((action.as_str(), body.as_str()), ("none", "<Kerko xmlns=\"urn:q\"><nr>7</nr></Kerko>"));
    let soap = r#"soap = { operation = "Rpc", body = { who = { first = "1" }, nr = "{number}" } }"#;
    let (_, action, body) = sent("", soap).await;
    assert_eq!(action, "\"urn:q#Rpc\"");
    assert_eq!(body, "<op:Rpc xmlns:op=\"urn:rpc\"><nr>7</nr><who><first>1</first></who></op:Rpc>");
}

#[test]
fn what_the_wsdl_does_not_have_is_told_with_its_place() {
    for (soap, expected) in [
        ("operation = \"Kerk\"", "the WSDL has no operation `Kerk`; there is: Kerko, Larg, Rpc, Koduar"),
        ("operation = \"Kerko\"", "the WSDL requires `nr` in `Kerko` (q.wsdl:10): add it"),
        (
            "operation = \"Kerko\", body = { nr = \"1\", c = \"2\" }",
            "no element `c`; there is: nr, a, b, person",
        ),
        ("operation = \"Kerko\", body = { nr = { x = \"1\" } }", "gives `nr` text only"),
        ("operation = \"Kerko\", body = { nr = [\"1\"] }", "allows `nr` once only (q.wsdl:10)"),
        (
            "operation = \"Kerko\", body = { nr = \"1\", person = \"x\" }",
            "gives `person` elements: write a table; there is: first, second, mother",
        ),
        (
            "operation = \"Kerko\", body = { nr = \"1\", person = { second = \"x\" } }",
            "requires `first` in `person` (types.xsd:4)",
        ),
        (
            "operation = \"Kerko\", body = { nr = \"1\", person = { first = \"x\", \"@x\" = \"y\" } }",
            "no attribute `x`; there is: id",
        ),
        (
            "operation = \"Kerko\", body = { nr = \"1\", person = { first = \"x\", \"#text\" = \"y\" } }",
            "elements and no text",
        ),
        (
            "operation = \"Kerko\", namespace = \"urn:q\", body = { nr = \"1\" }",
            "the WSDL says `namespace`: leave it out",
        ),
        (
            "operation = \"Larg\"",
            "{urn:far}x is in none of the schemas; schemas that are imported must be files",
        ),
        ("operation = \"Koduar\"", "q.wsdl:30: `Koduar` is encoded by SOAP"),
    ] {
        let folder = folder();
        let register = "kind = \"soap\"\nurl = \"http://x\"\nwsdl = \"q.wsdl\"";
        let errors =
            folder.load(register, &format!("[methods.Get]\nsoap = {{ {soap} }}")).expect_err("mistakes");
        let told = errors.lines().find(|line| line.contains(expected));
        assert!(told.is_some_and(|line| line.contains("people.toml:8:")), "{expected}: {errors}");
    }
}

#[test]
fn files_that_are_no_wsdl_are_told_with_their_place() {
    for (wsdl, expected) in [
        ("", "q.wsdl: not a whole XML document"),
        ("<a>\n<b></a>", "q.wsdl:2: not well-formed XML"),
        ("<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>", "q.wsdl:1: a DTD is refused"),
        ("<a/>", "q.wsdl:1: it begins with a, not with WSDL 1.1's definitions"),
        ("<x:a/>", "q.wsdl:1: the prefix of <x:a> is not declared"),
        (TYPES, "it is a schema and no WSDL"),
        (
            "<definitions xmlns='http://schemas.xmlsoap.org/wsdl/'>\n<import location='none.wsdl'/></definitions>",
            "q.wsdl:2: ",
        ),
        ("<definitions xmlns='http://schemas.xmlsoap.org/wsdl/'/>", "binds nothing to SOAP"),
        // A file that imports itself is read once.
        (
            "<definitions xmlns='http://schemas.xmlsoap.org/wsdl/'><import location='q.wsdl'/></definitions>",
            "binds nothing to SOAP",
        ),
    ] {
        let folder = folder();
        std::fs::write(folder.path().join("q.wsdl"), wsdl).expect("written");
        let register = "kind = \"soap\"\nurl = \"http://x\"\nwsdl = \"q.wsdl\"";
        let errors =
            folder.load(register, "[methods.Get]\nsoap = { operation = \"X\" }").expect_err("mistakes");
        let told = errors.lines().find(|line| line.contains(expected));
        assert!(told.is_some_and(|line| line.contains("people.toml:6:")), "{expected}: {errors}");
    }
}
