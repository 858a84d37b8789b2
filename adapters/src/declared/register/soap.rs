//! What a SOAP register speaks: its version, and the WSDL that describes it.

use ura_runtime::config::{Problems, Source};

use super::raw::{Kind, Register};
use crate::{
    plan::SoapVersion,
    wsdl::{self, Wsdl},
};

pub(super) fn check(raw: &Register, source: &Source, problems: &mut Problems) -> (SoapVersion, Option<Wsdl>) {
    let given = [("soap_version", &raw.soap_version), ("wsdl", &raw.wsdl)];
    for (key, text) in given.into_iter().filter(|_| raw.kind != Kind::Soap) {
        if let Some(text) = text {
            problems.at(text.span(), format!("{key} goes with soap only"));
        }
    }
    let version = raw.soap_version.as_ref().and_then(|text| {
        let known = [SoapVersion::V1_1, SoapVersion::V1_2];
        let version = known.into_iter().find(|version| wsdl::number(*version) == text.as_ref());
        if version.is_none() {
            problems.at(text.span(), "write \"1.1\" or \"1.2\"");
        }
        version
    });
    let Some(path) = raw.wsdl.as_ref().filter(|_| raw.kind == Kind::Soap) else {
        return (version.unwrap_or_default(), None);
    };
    match Wsdl::load(&source.resolve(path.as_ref())) {
        Ok(wsdl) => {
            if wsdl.version().is_none() {
                problems.at(path.span(), "the WSDL binds nothing to SOAP 1.1 or 1.2");
            }
            (version.or(wsdl.version()).unwrap_or_default(), Some(wsdl))
        }
        Err(problem) => {
            problems.at(path.span(), format!("the WSDL cannot be used: {problem}"));
            (version.unwrap_or_default(), None)
        }
    }
}
