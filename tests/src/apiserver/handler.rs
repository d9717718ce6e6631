//! One request, from its arrival to its answer.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderValue, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};

use super::{
    access::resource_name,
    discovery,
    faults::Pace,
    list::Page,
    log::LoggedRequest,
    patch::Patch,
    route::{Call, Subresource, Verb},
    shared::Shared,
    status::{ApiError, Reason},
    stored::{Head, Stored},
    tokens::{OWN_AUDIENCE, User},
    watch::Watch,
    write::{Address, Author, Preconditions},
};

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// As much as an API server takes.
const BODY_LIMIT: usize = 3 << 20;

/// Answers a request.
pub(super) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await else {
        return failed(&ApiError::new(Reason::RequestEntityTooLarge, "limit is 3145728"));
    };
    let query = parts.uri.query().unwrap_or_default();
    let call = Call::parse(&shared.store(), &parts.method, parts.uri.path(), query);
    match call {
        Ok(Some(call)) => logged(&shared, &parts, call, body.to_bytes()).await,
        Ok(None) => about_the_server(&shared, &parts).unwrap_or_else(|error| failed(&error)),
        Err(error) => failed(&error),
    }
}

fn about_the_server(shared: &Shared, parts: &Parts) -> Result<Response<Body>, ApiError> {
    let path = parts.uri.path();
    if ["/healthz", "/livez", "/readyz"].contains(&path) {
        return Ok(text(StatusCode::OK, "ok"));
    }
    authenticate(shared, parts)?;
    let document = discovery::document(&shared.store(), path);
    Ok(document.map_or_else(
        || text(StatusCode::NOT_FOUND, "404 page not found\n"),
        |it| json_answer(StatusCode::OK, it.to_string()),
    ))
}

async fn logged(shared: &Arc<Shared>, parts: &Parts, call: Call, body: Bytes) -> Response<Body> {
    let number = shared.log.arrived(entry(parts, &call, &body));
    let pace = shared.faults.pace(&call);
    let response = match permitted(shared, parts, &call, number).await {
        Ok(()) => perform(shared, parts, call, &body),
        Err(error) => Err(error),
    };
    let response = response.unwrap_or_else(|error| failed(&error));
    shared.log.answered(number, response.status().as_u16());
    match pace {
        Some(pace) => response.map(|body| slowed(body, pace)),
        None => response,
    }
}

fn entry(parts: &Parts, call: &Call, body: &Bytes) -> LoggedRequest {
    LoggedRequest {
        verb: call.verb,
        resource: resource_name(call),
        namespace: call.namespace.clone().unwrap_or_default(),
        name: call.name.clone().unwrap_or_default(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        user: String::new(),
        agent: header_of(parts, &header::USER_AGENT).to_owned(),
        body: body.clone(),
        status: None,
        at: std::time::Instant::now(),
    }
}

async fn permitted(shared: &Shared, parts: &Parts, call: &Call, number: usize) -> Result<(), ApiError> {
    shared.faults.meet(call).await?;
    let user = authenticate(shared, parts)?;
    shared.log.known(number, &user.name);
    let access = shared.access();
    access.check(&shared.store(), &user, call)
}

fn authenticate(shared: &Shared, parts: &Parts) -> Result<User, ApiError> {
    let token = header_of(parts, &header::AUTHORIZATION).strip_prefix("Bearer ").unwrap_or_default();
    let tokens = shared.tokens();
    let known = tokens.check(&shared.store(), token, &[OWN_AUDIENCE.to_owned()], shared.clock.now());
    known.map(|(user, _)| user).map_err(|_| ApiError::new(Reason::Unauthorized, "Unauthorized"))
}

fn header_of<'a>(parts: &'a Parts, name: &header::HeaderName) -> &'a str {
    parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn perform(shared: &Arc<Shared>, parts: &Parts, call: Call, body: &[u8]) -> Result<Response<Body>, ApiError> {
    match call.verb {
        Verb::List => list(shared, &call),
        Verb::Watch => Ok(streamed(Watch::start(shared, call)?.into_stream())),
        Verb::Get => get(shared, &call),
        Verb::Create if call.resource.is_answered() || call.subresource.is_some() => ask(shared, &call, body),
        Verb::DeleteCollection => delete_all(shared, call),
        Verb::Create | Verb::Update | Verb::Patch | Verb::Delete => write(shared, parts, &call, body),
    }
}

fn list(shared: &Shared, call: &Call) -> Result<Response<Body>, ApiError> {
    let Call { resource, version, namespace, query, .. } = call;
    let api_version = resource.api_version(version);
    let page = Page::take(&mut shared.store(), resource, api_version, namespace.as_deref(), query)?;
    Ok(streamed(stream::iter(page.pieces(version).map(Ok))))
}

fn get(shared: &Shared, call: &Call) -> Result<Response<Body>, ApiError> {
    let at = address(call);
    let found = shared.store().get(at.resource, at.namespace, at.name);
    let found = found.ok_or_else(|| ApiError::not_found(at.resource, at.name))?;
    Ok(object(StatusCode::OK, call, &found))
}

/// What is asked by creating an object that is not kept.
fn ask(shared: &Shared, call: &Call, body: &[u8]) -> Result<Response<Body>, ApiError> {
    let mut question = parse(body)?;
    let (mut tokens, now) = (shared.tokens(), shared.clock.now());
    let answer = match call.subresource {
        Some(Subresource::Token) => {
            let at = address(call);
            tokens.request(&shared.store(), (at.namespace, at.name), question, now)?
        }
        Some(Subresource::Status) => return Err(not_allowed()),
        None => {
            question["status"] = tokens.review(&shared.store(), &question, now);
            question
        }
    };
    Ok(json_answer(StatusCode::CREATED, answer.to_string()))
}

fn write(shared: &Shared, parts: &Parts, call: &Call, body: &[u8]) -> Result<Response<Body>, ApiError> {
    let at = address(call);
    let existed = shared.store().get(at.resource, at.namespace, at.name).is_some();
    let written = shared.write(Author::Client, |writer| match call.verb {
        Verb::Create => writer.create(at.resource, at.namespace, parse(body)?),
        Verb::Update => writer.update(at, parse(body)?),
        Verb::Patch => {
            let patch = Patch::parse(header_of(parts, &header::CONTENT_TYPE), body)?;
            writer.patch(at, &patch, call.query.field_manager.as_deref().unwrap_or_default())
        }
        Verb::Delete => {
            let options = if body.is_empty() { json!({}) } else { parse(body)? };
            writer.delete(at, &Preconditions::of(&options["preconditions"]))
        }
        _ => Err(not_allowed()),
    })?;
    if call.verb == Verb::Delete {
        return Ok(json_answer(StatusCode::OK, success(call).to_string()));
    }
    Ok(object(if existed { StatusCode::OK } else { StatusCode::CREATED }, call, &written))
}

fn delete_all(shared: &Shared, call: Call) -> Result<Response<Body>, ApiError> {
    let Call { resource, version, namespace, query, .. } = call;
    let api_version = resource.api_version(version);
    let page = Page::take(&mut shared.store(), resource, api_version, namespace.as_deref(), &query)?;
    shared.write(Author::Client, |writer| {
        for object in page.objects() {
            let (namespace, name) = (object.namespace.as_str(), object.name.as_str());
            writer.delete(
                Address { resource, namespace, name, subresource: None },
                &Preconditions::default(),
            )?;
        }
        Ok(())
    })?;
    Ok(streamed(stream::iter(page.pieces(version).map(Ok))))
}

fn address(call: &Call) -> Address<'_> {
    Address {
        resource: call.resource,
        namespace: call.namespace.as_deref().unwrap_or_default(),
        name: call.name.as_deref().unwrap_or_default(),
        subresource: call.subresource,
    }
}

fn parse(body: &[u8]) -> Result<Value, ApiError> {
    // YAML is what `kubectl create --raw` and a few clients send.
    if body.starts_with(b"{") {
        return serde_json::from_slice(body).map_err(|error| ApiError::bad_request(error.to_string()));
    }
    serde_saphyr::from_slice(body).map_err(|error| ApiError::bad_request(error.to_string()))
}

fn not_allowed() -> ApiError {
    ApiError::new(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource")
}

fn success(call: &Call) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Success",
        "details": { "name": call.name, "group": call.resource.group, "kind": call.resource.plural },
    })
}

fn object(status: StatusCode, call: &Call, object: &Stored) -> Response<Body> {
    json_answer(status, object.bytes(&Head::new(call.resource, call.version)))
}

fn failed(error: &ApiError) -> Response<Body> {
    let status = StatusCode::from_u16(error.reason.code()).expect("reasons have codes of HTTP");
    let mut response = json_answer(status, error.status().to_string());
    if let Some(seconds) = error.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<Body> {
    with_type("text/plain; charset=utf-8", status, whole(body))
}

fn json_answer(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    with_type("application/json", status, whole(body))
}

fn streamed(pieces: impl stream::Stream<Item = io::Result<Bytes>> + Send + 'static) -> Response<Body> {
    let body = StreamBody::new(pieces.map(|piece| piece.map(Frame::data)));
    with_type("application/json", StatusCode::OK, body.boxed_unsync())
}

fn whole(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()
}

fn with_type(content_type: &'static str, status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The same body, a few bytes at a time.
fn slowed(body: Body, pace: Pace) -> Body {
    let pieces = body.into_data_stream().flat_map(move |piece| {
        let parts: Vec<_> = match piece {
            Ok(piece) => piece.chunks(pace.bytes.max(1)).map(|it| Ok(Bytes::copy_from_slice(it))).collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(parts)
    });
    let paced = pieces.then(move |piece| async move {
        tokio::time::sleep(pace.pause).await;
        piece.map(Frame::data)
    });
    StreamBody::new(paced).boxed_unsync()
}
