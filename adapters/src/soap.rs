//! SOAP 1.1 (W3C Note of 8 May 2000) and 1.2 (W3C Recommendation of 27 April 2007): an envelope is sent, an answer or a
//! fault read as a tree.

mod envelope;

use std::sync::Arc;

use reqwest::{
    Method, Request,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use tonic::Code;

use crate::{
    http::{self, HttpRegister},
    plan::{SoapPlan, SoapVersion},
    register::{Failure, Reply, job::Job},
    tree::Tree,
    xml,
};

const ACTION: HeaderName = HeaderName::from_static("soapaction");

/// Asks the register.
pub(crate) async fn call(http: &HttpRegister, job: Arc<Job>, plan: &SoapPlan) -> Result<Reply, Failure> {
    let envelope = envelope::write(plan, &job.values)
        .map_err(|problem| Failure::invalid(format!("A value of the request {problem}.")))?;
    let mut request = Request::new(Method::POST, http.url(&plan.path)?);
    let headers = request.headers_mut();
    for (name, value) in headers_of(plan) {
        // The action is the file's own, and checked there.
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    *request.body_mut() = Some(envelope.into());
    let (status, body) = job
        .budget
        .whole(async {
            let response = http.send(&job, request).await?;
            let status = response.status().as_u16();
            Ok((status, http::body(&job, response).await?))
        })
        .await?;
    // Faults come with status 500, in 1.2 with 400 too; other refusals may be no SOAP at all.
    let content = match xml::read(&body).map(contents) {
        Ok(Some(content)) => content,
        _ if !(200..300).contains(&status) => {
            let detail = format!("HTTP status {status}");
            return Err(http::mapped(&job, &status.to_string(), &detail)
                .unwrap_or_else(|| http::by_status(&job, status)));
        }
        Ok(None) => return Err(job.mismatch("the answer", "it is no SOAP envelope")),
        Err(error) => return Err(job.mismatch("the answer", &error.to_string())),
    };
    match content {
        (name, fault) if name == "Fault" => Err(fault_of(&job, &fault)),
        (_, tree) if (200..300).contains(&status) => http::reply(&job, &tree),
        _ => Err(http::by_status(&job, status)),
    }
}

/// 1.1: section 6.1.1, the action always quoted. 1.2: part 2, section 7.1.4, with the parameter of RFC 3902.
fn headers_of(plan: &SoapPlan) -> Vec<(HeaderName, String)> {
    match plan.version {
        SoapVersion::V1_1 => vec![
            (CONTENT_TYPE, "text/xml; charset=utf-8".to_owned()),
            (ACTION, format!("\"{}\"", plan.action)),
        ],
        SoapVersion::V1_2 if plan.action.is_empty() => {
            vec![(CONTENT_TYPE, "application/soap+xml; charset=utf-8".to_owned())]
        }
        SoapVersion::V1_2 => {
            vec![(CONTENT_TYPE, format!("application/soap+xml; charset=utf-8; action=\"{}\"", plan.action))]
        }
    }
}

/// The first element inside the body of an envelope.
fn contents((name, envelope): (String, Tree)) -> Option<(String, Tree)> {
    if name != "Envelope" {
        return None;
    }
    let Tree::Object(members) = envelope else {
        return None;
    };
    let (_, body) = members.into_iter().find(|(name, _)| name == "Body")?;
    match body {
        Tree::Object(members) => members.into_iter().find(|(name, _)| !name.starts_with(['@', '#'])),
        // An empty body is an answer without content.
        Tree::Text(text) if text.trim().is_empty() => Some((String::new(), Tree::Object(Vec::new()))),
        _ => None,
    }
}

/// A fault by the first element of its detail, else by its codes from the most particular one on (1.1: section 4.4; 1.2:
/// part 1, section 5.4).
fn fault_of(job: &Job, fault: &Tree) -> Failure {
    let detail = match fault.member("detail").or_else(|| fault.member("Detail")) {
        Some(Tree::Object(members)) => {
            members.iter().map(|(name, _)| name.as_str()).find(|name| !name.starts_with(['@', '#']))
        }
        _ => None,
    };
    let codes = codes_of(fault);
    let text = format!("fault {}, detail {}", codes.join(" "), detail.unwrap_or("none"));
    let keys = detail.into_iter().chain(codes.iter().map(String::as_str));
    keys.into_iter()
        .find_map(|key| http::mapped(job, key, &text))
        .unwrap_or_else(|| Failure::refused(Code::Internal, "The register did not carry out the call.", text))
}

/// Codes of a fault without their prefixes, the most particular one first.
fn codes_of(fault: &Tree) -> Vec<String> {
    let local = |tree: Option<&Tree>| {
        let text = tree.map(Tree::to_text).unwrap_or_default();
        text.rsplit(':').next().unwrap_or_default().trim().to_owned()
    };
    let Some(code) = fault.member("Code") else {
        return vec![local(fault.member("faultcode"))];
    };
    let nested = std::iter::successors(Some(code), |code| code.member("Subcode"));
    let mut codes: Vec<String> = nested.map(|code| local(code.member("Value"))).collect();
    codes.reverse();
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_versions_are_read() {
        for (xml, codes) in [
            ("<F><faultcode> s:Client </faultcode></F>", vec!["Client"]),
            ("<F/>", vec![""]),
            ("<F><Code><Value>e:Sender</Value></Code></F>", vec!["Sender"]),
            (
                "<F><Code><Value>e:Receiver</Value><Subcode><Value>m:A</Value><Subcode><Value>m:B</Value></Subcode></Subcode></Code></F>",
                vec!["B", "A", "Receiver"],
            ),
        ] {
            let (_, fault) = xml::read(xml.as_bytes()).expect("XML");
            assert_eq!(codes_of(&fault), codes, "{xml}");
        }
    }
}
