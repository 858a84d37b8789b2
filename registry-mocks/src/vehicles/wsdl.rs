//! The WSDL 1.1 description of the vehicle service.

/// Namespace of the service.
pub(crate) const NAMESPACE: &str = "urn:mpb:qrm:mjetet:v1";
/// Path of the endpoint.
pub(crate) const PATH: &str = "/sherbimi/mjetet";

/// Everything before the endpoint's address.
const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<wsdl:definitions xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:m="urn:mpb:qrm:mjetet:v1" name="SherbimiMjetet"
    targetNamespace="urn:mpb:qrm:mjetet:v1">
  <wsdl:types>
    <xs:schema targetNamespace="urn:mpb:qrm:mjetet:v1" elementFormDefault="qualified">
      <xs:simpleType name="Data">
        <xs:restriction base="xs:string"><xs:pattern value="[0-9]{2}\.[0-9]{2}\.[0-9]{4}"/></xs:restriction>
      </xs:simpleType>
      <xs:complexType name="Mjeti">
        <xs:sequence>
          <xs:element name="targa" type="xs:string"/>
          <xs:element name="nrShasise" type="xs:string"/>
          <xs:element name="marka" type="xs:string"/>
          <xs:element name="modeli" type="xs:string"/>
          <xs:element name="kategoria" type="xs:string"/>
          <xs:element name="lendaDjegese" type="xs:string"/>
          <xs:element name="ngjyra" type="xs:string"/>
          <xs:element name="viti" type="xs:int"/>
          <xs:element name="vellimi" type="xs:int"/>
          <xs:element name="fuqia" type="xs:int"/>
          <xs:element name="dtRegjistrimitPare" type="m:Data"/>
          <xs:element name="dtVlefshmerise" type="m:Data"/>
          <xs:element name="statusi" type="xs:string"/>
          <xs:element name="ndalesa" type="xs:string"/>
        </xs:sequence>
      </xs:complexType>
      <xs:complexType name="Pronari">
        <xs:sequence>
          <xs:element name="lloji" type="xs:string"/>
          <xs:element name="nrPersonal" type="xs:string" minOccurs="0"/>
          <xs:element name="emri" type="xs:string" minOccurs="0"/>
          <xs:element name="mbiemri" type="xs:string" minOccurs="0"/>
          <xs:element name="nui" type="xs:string" minOccurs="0"/>
          <xs:element name="emriBiznesit" type="xs:string" minOccurs="0"/>
          <xs:element name="adresa" type="xs:string"/>
        </xs:sequence>
      </xs:complexType>
      <xs:complexType name="Gabimi">
        <xs:sequence><xs:element name="mesazhi" type="xs:string"/></xs:sequence>
      </xs:complexType>
      <xs:element name="MerrMjetin">
        <xs:complexType>
          <xs:choice>
            <xs:element name="targa" type="xs:string"/>
            <xs:element name="nrShasise" type="xs:string"/>
          </xs:choice>
        </xs:complexType>
      </xs:element>
      <xs:element name="MerrMjetinPergjigja">
        <xs:complexType>
          <xs:sequence>
            <xs:element name="mjeti" type="m:Mjeti"/>
            <xs:element name="pronari" type="m:Pronari"/>
          </xs:sequence>
        </xs:complexType>
      </xs:element>
      <xs:element name="ListoMjetet">
        <xs:complexType>
          <xs:sequence>
            <xs:choice>
              <xs:element name="nrPersonal" type="xs:string"/>
              <xs:element name="nui" type="xs:string"/>
            </xs:choice>
            <xs:element name="kufiri" type="xs:int" minOccurs="0"/>
            <xs:element name="zhvendosja" type="xs:int" minOccurs="0"/>
          </xs:sequence>
        </xs:complexType>
      </xs:element>
      <xs:element name="ListoMjetetPergjigja">
        <xs:complexType>
          <xs:sequence>
            <xs:element name="gjithsej" type="xs:int"/>
            <xs:element name="mjeti" type="m:Mjeti" minOccurs="0" maxOccurs="unbounded"/>
          </xs:sequence>
        </xs:complexType>
      </xs:element>
      <xs:element name="MjetiNukUGjet" type="m:Gabimi"/>
      <xs:element name="KerkeseEGabuar" type="m:Gabimi"/>
      <xs:element name="GabimIBrendshem" type="m:Gabimi"/>
    </xs:schema>
  </wsdl:types>
  <wsdl:message name="MerrMjetin"><wsdl:part name="parameters" element="m:MerrMjetin"/></wsdl:message>
  <wsdl:message name="MerrMjetinPergjigja"><wsdl:part name="parameters" element="m:MerrMjetinPergjigja"/></wsdl:message>
  <wsdl:message name="ListoMjetet"><wsdl:part name="parameters" element="m:ListoMjetet"/></wsdl:message>
  <wsdl:message name="ListoMjetetPergjigja"><wsdl:part name="parameters" element="m:ListoMjetetPergjigja"/></wsdl:message>
  <wsdl:message name="MjetiNukUGjet"><wsdl:part name="fault" element="m:MjetiNukUGjet"/></wsdl:message>
  <wsdl:message name="KerkeseEGabuar"><wsdl:part name="fault" element="m:KerkeseEGabuar"/></wsdl:message>
  <wsdl:portType name="Mjetet">
    <wsdl:operation name="MerrMjetin">
      <wsdl:input message="m:MerrMjetin"/>
      <wsdl:output message="m:MerrMjetinPergjigja"/>
      <wsdl:fault name="MjetiNukUGjet" message="m:MjetiNukUGjet"/>
      <wsdl:fault name="KerkeseEGabuar" message="m:KerkeseEGabuar"/>
    </wsdl:operation>
    <wsdl:operation name="ListoMjetet">
      <wsdl:input message="m:ListoMjetet"/>
      <wsdl:output message="m:ListoMjetetPergjigja"/>
      <wsdl:fault name="KerkeseEGabuar" message="m:KerkeseEGabuar"/>
    </wsdl:operation>
  </wsdl:portType>
  <wsdl:binding name="MjetetSoap" type="m:Mjetet">
    <soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
    <wsdl:operation name="MerrMjetin">
      <soap:operation soapAction="urn:mpb:qrm:mjetet:v1#MerrMjetin"/>
      <wsdl:input><soap:body use="literal"/></wsdl:input>
      <wsdl:output><soap:body use="literal"/></wsdl:output>
      <wsdl:fault name="MjetiNukUGjet"><soap:fault name="MjetiNukUGjet" use="literal"/></wsdl:fault>
      <wsdl:fault name="KerkeseEGabuar"><soap:fault name="KerkeseEGabuar" use="literal"/></wsdl:fault>
    </wsdl:operation>
    <wsdl:operation name="ListoMjetet">
      <soap:operation soapAction="urn:mpb:qrm:mjetet:v1#ListoMjetet"/>
      <wsdl:input><soap:body use="literal"/></wsdl:input>
      <wsdl:output><soap:body use="literal"/></wsdl:output>
      <wsdl:fault name="KerkeseEGabuar"><soap:fault name="KerkeseEGabuar" use="literal"/></wsdl:fault>
    </wsdl:operation>
  </wsdl:binding>
  <wsdl:service name="SherbimiMjetet">
    <wsdl:port name="MjetetSoap" binding="m:MjetetSoap">
"#;
/// Everything after it.
const TAIL: &str = "    </wsdl:port>\n  </wsdl:service>\n</wsdl:definitions>\n";

/// The description of the service at this host.
pub(crate) fn wsdl(host: &str) -> String {
    let host = quick_xml::escape::escape(host);
    format!("{HEAD}      <soap:address location=\"http://{host}{PATH}\"/>\n{TAIL}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_well_formed_and_names_the_endpoint() {
        let text = wsdl("127.0.0.1:7082");
        assert!(text.contains("location=\"http://127.0.0.1:7082/sherbimi/mjetet\""));
        assert!(text.contains(&format!("targetNamespace=\"{NAMESPACE}\"")));
        let mut reader = quick_xml::Reader::from_str(&text);
        while reader.read_event().expect("well formed") != quick_xml::events::Event::Eof {}
    }
}
