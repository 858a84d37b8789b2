//! REST with JSON: a request made of templates, an answer read as a tree.

use std::sync::Arc;

use futures_util::StreamExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    Request, Response,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue},
};

use crate::{
    http::{self, HttpRegister},
    plan::{Answer, Piece, RestPlan},
    register::{Failure, Reply, job::Job, pump},
    tree::Tree,
};

/// What stays as it is in a path segment: the unreserved characters (RFC 3986 section 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Asks the register.
pub(crate) async fn call(http: &HttpRegister, job: Arc<Job>, plan: &RestPlan) -> Result<Reply, Failure> {
    let request = request(http, &job, plan)?;
    let body = matches!(job.method.answer, Answer::Chunks { from: None, .. });
    let response = job.budget.whole(http.send(&job, request)).await?;
    let status = response.status();
    if !status.is_success() {
        return Err(refusal(&job, response).await);
    }
    if body {
        return streamed(job, response);
    }
    let bytes = job.budget.whole(http::body(&job, response)).await?;
    let tree = match std::str::from_utf8(&bytes).map(|text| (text.trim().is_empty(), Tree::from_json(text))) {
        Ok((true, _)) => Tree::Object(Vec::new()),
        Ok((false, Ok(tree))) => tree,
        Ok((false, Err(error))) => return Err(job.mismatch("the answer", &format!("it is {error}"))),
        Err(_) => return Err(job.mismatch("the answer", "it is not UTF-8")),
    };
    http::reply(&job, &tree)
}

fn request(http: &HttpRegister, job: &Job, plan: &RestPlan) -> Result<Request, Failure> {
    let mut url = http.url(&path(&plan.path, &job.values)?)?;
    for (name, template) in &plan.query {
        let values = match template.render(&job.values) {
            None => continue,
            Some(Tree::List(items)) => items,
            Some(value) => vec![value],
        };
        for value in values {
            url.query_pairs_mut().append_pair(name, &value.to_text());
        }
    }
    let mut request = Request::new(plan.method.clone(), url);
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    for (name, template) in &plan.headers {
        let Some(value) = template.render(&job.values) else {
            continue;
        };
        headers.insert(name, http::header(name, &value.to_text())?);
    }
    if let Some(template) = &plan.body {
        let mut text = String::new();
        template.render(&job.values).unwrap_or(Tree::Null).write_json(&mut text);
        request.headers_mut().entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(text.into());
    }
    Ok(request)
}

/// The path with each value as (part of) one segment.
fn path(pieces: &[Piece], values: &[Tree]) -> Result<String, Failure> {
    let mut path = String::new();
    for piece in pieces {
        match piece {
            Piece::Literal(text) => path.push_str(text),
            Piece::Slot(at) => {
                let value = values.get(*at).map(Tree::to_text).unwrap_or_default();
                if value.is_empty() {
                    return Err(Failure::invalid(
                        "A value that is part of the register's address is missing.",
                    ));
                }
                path.extend(utf8_percent_encode(&value, SEGMENT));
            }
        }
    }
    // A server would take these for steps up its tree of addresses.
    if pieces.len() > 1 && path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(Failure::invalid("A value cannot be part of the register's address."));
    }
    Ok(path)
}

/// What a status other than 2xx means.
async fn refusal(job: &Job, response: Response) -> Failure {
    let status = response.status().as_u16();
    let detail = format!("HTTP status {status}");
    if let Some(at) = &job.method.error_at {
        let body = match job.budget.whole(http::body(job, response)).await {
            Ok(body) => body,
            Err(failure) => return failure,
        };
        let tree = std::str::from_utf8(&body).ok().and_then(|text| Tree::from_json(text).ok());
        if let Some(code) = tree.as_ref().and_then(|tree| tree.at(at)).map(Tree::to_text)
            && let Some(failure) = http::mapped(job, &code, &detail)
        {
            return failure;
        }
    }
    http::mapped(job, &status.to_string(), &detail).unwrap_or_else(|| http::by_status(job, status))
}

/// The body as it comes, in pieces; the headers of the answer are the row.
fn streamed(job: Arc<Job>, response: Response) -> Result<Reply, Failure> {
    let headers = response.headers().iter().filter_map(|(name, value)| {
        Some((name.as_str().to_owned(), Tree::Text(value.to_str().ok()?.to_owned())))
    });
    let head = job.messages(&Tree::Object(headers.collect()), true)?;
    Ok(pump::stream(Arc::clone(&job), |sink| async move {
        for message in head {
            sink.send(message).await?;
        }
        let Answer::Chunks { field, .. } = &job.method.answer else {
            return Ok(());
        };
        let mut pieces = response.bytes_stream();
        let mut bytes: u64 = 0;
        loop {
            let step = async { pieces.next().await.transpose().map_err(|error| http::failure(&error)) };
            let Some(piece) = job.budget.step(step).await? else {
                return Ok(());
            };
            bytes = bytes.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            if bytes > job.limits.stream_bytes_max {
                return Err(job.mismatch("the answer", "it is larger than stream_bytes_max"));
            }
            for message in job.piece(field, piece) {
                sink.send(message).await?;
            }
        }
    }))
}
