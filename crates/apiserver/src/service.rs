//! Owns the tower service: a request in, an answer out, never a failure. It refuses meaning; see
//! `routes`.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt as _;
use tower::Service;

use crate::answer;
use crate::authorize;
use crate::body::ApiBody;
use crate::faults;
use crate::refusal::Refusal;
use crate::request::BODY_LIMIT;
use crate::routes;
use crate::server::ApiServer;

/// The API as a tower service. Cheap to clone; always ready.
#[derive(Clone, Debug)]
pub struct ApiService {
    server: ApiServer,
    faulty: bool,
}

impl ApiService {
    pub(crate) fn new(server: ApiServer) -> Self {
        Self {
            server,
            faulty: true,
        }
    }

    /// The same service for those whom no fault plan is meant for, such as the parts around the
    /// server that stand for the rest of a cluster.
    #[must_use]
    pub fn without_faults(self) -> Self {
        Self {
            faulty: false,
            ..self
        }
    }
}

impl<B> Service<Request<B>> for ApiService
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: std::fmt::Display,
{
    type Response = Response<ApiBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (server, faulty) = (self.server.clone(), self.faulty);
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let user = match authorize::enter(&server, &head) {
                Ok(user) => user,
                Err(denial) => return Ok(denial.answer(&server, &head)),
            };
            let strike = faulty
                .then(|| server.0.faults.strike(&head, &user))
                .flatten();
            if let Some(strike) = &strike
                && let Some(answer) = faults::before(strike, &mut head).await
            {
                return Ok(answer);
            }
            let answer = match gather(body).await {
                Ok(body) => routes::serve(&server, &user, &head, &body),
                Err(refusal) => answer::refusal(&refusal),
            };
            Ok(match &strike {
                Some(strike) => faults::after(strike, answer),
                None => answer,
            })
        })
    }
}

/// Reads a body up to the limit.
async fn gather<B>(body: B) -> Result<Vec<u8>, Refusal>
where
    B: Body + Send,
    B::Error: std::fmt::Display,
{
    use bytes::Buf as _;
    let too_large = || Refusal::TooLarge { limit: BODY_LIMIT };
    if body.size_hint().lower() > BODY_LIMIT as u64 {
        return Err(too_large());
    }
    let mut out = Vec::new();
    let mut body = std::pin::pin!(body);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|broken| {
            Refusal::BadRequest(format!("the body could not be read: {broken}"))
        })?;
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        if out.len() + data.remaining() > BODY_LIMIT {
            return Err(too_large());
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            out.extend_from_slice(chunk);
            let length = chunk.len();
            data.advance(length);
        }
    }
    Ok(out)
}
