//! A call of `CreateCertificate`, as it comes out of HTTP/2: everything that is read before the API server is asked who
//! calls.

use std::sync::Mutex;

use futures::FutureExt as _;
use http_body_util::Full;

use super::*;
use crate::ca::Account;

/// The first line is what `authorization` says, and all else is the body: gRPC's five bytes, and the message.
pub(crate) fn run(data: &[u8]) -> bool {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (line, body) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let call = http::Request::post(CREATE_CERTIFICATE).header("authorization", line);
    let Ok(call) = call.body(Full::new(bytes::Bytes::copy_from_slice(body))) else { return false };
    let reader = Reader(Arc::default());
    let answer = envelope().unary(reader.clone(), call).now_or_never().expect("all of it is there");
    let read = reader.0.lock().expect("nobody else has it").take();
    assert!(answer.status().is_success(), "gRPC's faults are not HTTP's");
    assert!(read.is_none() || body.len() <= ENVELOPE + MAX_MESSAGE, "it is longer than it may be");
    match read {
        None => false,
        Some(Ok(asked)) => {
            assert!(asked.to_string().starts_with("spiffe://cluster.local/ns/"), "{asked}");
            true
        }
        Some(Err(refusal)) => {
            assert!(with_sources(&refusal).len() < MAX_ERROR, "an error repeats what was sent");
            false
        }
    }
}

/// A flag and a length (`PROTOCOL-HTTP2.md` of grpc/grpc, "Length-Prefixed-Message").
const ENVELOPE: usize = 5;
/// An identity as long as SPIFFE allows, or what is shown of a name with each character escaped, and the words around it.
const MAX_ERROR: usize = 4 * 1024;

/// In the place of [`Call`]: whom it would ask for.
#[derive(Clone)]
struct Reader(Arc<Mutex<Option<Result<SpiffeId, Refusal>>>>);

impl UnaryService<IstioCertificateRequest> for Reader {
    type Response = IstioCertificateResponse;
    type Future = BoxFuture<'static, Result<Response<IstioCertificateResponse>, Status>>;

    fn call(&mut self, request: Request<IstioCertificateRequest>) -> Self::Future {
        *self.0.lock().expect("nobody else has it") = Some(asked_for(&request));
        Box::pin(async { Ok(Response::new(IstioCertificateResponse::default())) })
    }
}

fn asked_for(request: &Request<IstioCertificateRequest>) -> Result<SpiffeId, Refusal> {
    let token = bearer(request.metadata()).ok_or(Refusal::NoToken)?;
    assert!(!token.is_empty() && token.trim() == token, "{token:?} is no token");
    let message = request.get_ref();
    let asked = authorize::asked(&caller(), message.metadata.as_ref(), "cluster.local")?;
    csr::key_of(&message.csr, &asked)?;
    Ok(asked)
}

fn caller() -> Caller {
    let account = Account { namespace: "full".to_owned(), name: "sleep".to_owned() };
    Caller { account, pod: None, node: None }
}
