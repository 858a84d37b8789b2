//! Property tax: a REST service with JSON, as a tax administration built one for itself. Knows no
//! other register.

mod json;
mod ledger;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State, rejection::JsonRejection, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;

pub(crate) use self::ledger::Ledger;
use self::{
    json::PaymentBody,
    ledger::{Payment, Refusal, Status},
};
use crate::http::Broken;

/// Items of a page where the caller names no number.
const PAGE_DEFAULT: usize = 50;
/// Most items of a page.
const PAGE_MAX: usize = 500;
/// Longest idempotency key.
const KEY_BYTES_MAX: usize = 128;

/// The routes of the service.
pub(crate) fn routes(ledger: Arc<Ledger>) -> Router {
    Router::new()
        .route("/api/v2/faturat", get(list))
        .route("/api/v2/faturat/{uniref}", get(one))
        .route("/api/v2/pagesat", post(pay))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "RRUGE_E_PANJOHUR", "Rruga nuk ekziston.") })
        .with_state(ledger)
}

/// How the service fails when it is ordered to.
pub(crate) fn broken() -> Broken {
    Broken {
        failure: || error(StatusCode::INTERNAL_SERVER_ERROR, "GABIM_I_BRENDSHEM", "Gabim i brendshëm."),
        nonsense: || {
            ([("content-type", "application/json")], "{\"te_dhenat\": {\"faturat\": 7, ").into_response()
        },
    }
}

/// The service's own form of an error.
fn error(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({ "gabimi": { "kodi": code, "mesazhi": message } }))).into_response()
}

fn malformed(what: &str) -> Response {
    error(StatusCode::BAD_REQUEST, "KERKESE_E_GABUAR", what)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    nr_personal: String,
    statusi: Option<String>,
    kufiri: Option<usize>,
    #[serde(default)]
    zhvendosja: usize,
}

async fn list(
    State(ledger): State<Arc<Ledger>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Response {
    let Ok(Query(query)) = query else { return malformed("Parametrat e kërkesës nuk lexohen.") };
    let status = match query.statusi.as_deref().filter(|text| !text.is_empty()).map(Status::parse) {
        None => None,
        Some(Some(status)) => Some(status),
        Some(None) => return malformed("Statusi nuk njihet."),
    };
    let limit = query.kufiri.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return malformed("Kufiri duhet të jetë prej 1 deri në 500.");
    }
    let all = ledger.of_person(&query.nr_personal, status);
    let page: Vec<_> =
        all.iter().skip(query.zhvendosja).take(limit).map(|at| json::invoice(&ledger, *at)).collect();
    Json(json!({ "te_dhenat": { "gjithsej": all.len(), "faturat": page } })).into_response()
}

async fn one(State(ledger): State<Arc<Ledger>>, Path(uniref): Path<String>) -> Response {
    match ledger.by_uniref(&uniref) {
        Some(at) => Json(json!({
            "te_dhenat": { "fatura": json::invoice(&ledger, at), "tatimpaguesi": json::taxpayer(&ledger, at) }
        }))
        .into_response(),
        None => error(StatusCode::NOT_FOUND, "FATURA_NUK_EKZISTON", "Fatura nuk ekziston."),
    }
}

async fn pay(
    State(ledger): State<Arc<Ledger>>,
    headers: HeaderMap,
    body: Result<Json<PaymentBody>, JsonRejection>,
) -> Response {
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok());
    let Some(key) = key.filter(|key| is_key(key)) else {
        return malformed("Kreu Idempotency-Key mungon ose nuk lexohet.");
    };
    let Ok(Json(body)) = body else { return malformed("Trupi i kërkesës nuk lexohet.") };
    match ledger.pay(key, body) {
        Ok(payment) => {
            (StatusCode::CREATED, Json(json!({ "te_dhenat": json::payment(&payment) }))).into_response()
        }
        Err(refusal) => refused(refusal),
    }
}

fn is_key(key: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

fn refused(refusal: Refusal) -> Response {
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    match refusal {
        Refusal::UnknownInvoice => {
            error(StatusCode::NOT_FOUND, "FATURA_NUK_EKZISTON", "Fatura nuk ekziston.")
        }
        Refusal::KeyUsed => {
            error(StatusCode::CONFLICT, "CELESI_I_PERDORUR", "Çelësi është përdorur për pagesë tjetër.")
        }
        Refusal::Closed => {
            error(StatusCode::CONFLICT, "FATURA_E_MBYLLUR", "Fatura është paguar ose anuluar.")
        }
        Refusal::Amount => error(unprocessable, "SHUMA_E_GABUAR", "Shuma nuk pranohet."),
        Refusal::Currency => error(unprocessable, "MONEDHA_E_GABUAR", "Monedha nuk pranohet."),
        Refusal::Day => error(unprocessable, "DATA_E_GABUAR", "Data nuk pranohet."),
        Refusal::Full => error(StatusCode::SERVICE_UNAVAILABLE, "REGJISTRI_PLOT", "Regjistri është plot."),
    }
}
