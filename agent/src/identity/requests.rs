//! Requests for certificates that are on their way.

use std::sync::Arc;

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};

use super::{Certificate, IssueError, Workload};

/// What became of one request.
pub(super) type Answer = (Arc<Workload>, Result<Certificate, IssueError>);

/// At most one for each workload.
#[derive(Default)]
pub(super) struct Requests {
    answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    asking: Vec<Arc<Workload>>,
}

impl Requests {
    pub(super) fn push(&mut self, workload: &Arc<Workload>, answer: BoxFuture<'static, Answer>) {
        self.asking.push(workload.clone());
        self.answers.push(answer);
    }

    pub(super) const fn count(&self) -> usize {
        self.asking.len()
    }

    pub(super) fn has(&self, workload: &Arc<Workload>) -> bool {
        self.asking.iter().any(|asking| Arc::ptr_eq(asking, workload))
    }

    /// The next answer; none if nothing is on its way.
    pub(super) async fn next(&mut self) -> Option<Answer> {
        let answer = self.answers.next().await?;
        self.asking.retain(|asking| !Arc::ptr_eq(asking, &answer.0));
        Some(answer)
    }
}
