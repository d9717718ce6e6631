//! What the server does.

use std::io::{self, ErrorKind};

use anyhow::{Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    join,
    net::TcpStream,
};

use super::{Abort, End, Plan, abort, is_abort, is_either_aborted};

/// Does the server's part to its end, of the connection whose number comes; none if the client aborted before that.
pub(super) async fn server(mut stream: TcpStream, of_client: Abort) -> Result<Option<Plan>> {
    let mut number = [0; size_of::<u32>()];
    if let Err(error) = stream.read_exact(&mut number).await {
        ensure!(may_be_abort(&error, of_client), "before the number: {error}");
        return Ok(None);
    }
    let plan = Plan::new(u32::from_le_bytes(number));
    match plan.end {
        End::Regular => answer(stream, plan).await?,
        End::ServerAborts => break_off(stream, plan).await?,
        End::ClientAborts | End::ClientAbortsAtOnce => hear_abort(stream, plan, of_client).await?,
    }
    Ok(Some(plan))
}

fn may_be_abort(error: &io::Error, of_client: Abort) -> bool {
    is_abort(error) || of_client == Abort::MayLookLikeAnEnd && error.kind() == ErrorKind::UnexpectedEof
}

/// Says all while it hears all, and ends after that.
async fn answer(mut stream: TcpStream, plan: Plan) -> Result<()> {
    let (mut read, mut write) = stream.split();
    let (mut heard, answer) = (Vec::new(), plan.whole_answer());
    let (said, end) = join!(write.write_all(&answer), read.read_to_end(&mut heard));
    said?;
    end?;
    ensure!(heard == plan.question(), "{plan:?}: the server heard {} bytes, or others", heard.len());
    Ok(stream.shutdown().await?)
}

/// Hears half and aborts, with all to say that is taken at once.
async fn break_off(mut stream: TcpStream, plan: Plan) -> Result<()> {
    stream.write_all(&plan.number.to_le_bytes()).await?;
    let mut heard = vec![0; plan.up / 2];
    stream.read_exact(&mut heard).await?;
    ensure!(plan.question().starts_with(&heard), "{plan:?}: the server heard other bytes");
    // How much that is makes no difference.
    let _ = stream.try_write(plan.answer());
    Ok(abort(stream)?)
}

async fn hear_abort(mut stream: TcpStream, plan: Plan, of_client: Abort) -> Result<()> {
    let said = stream.write_all(&plan.number.to_le_bytes()).await;
    let mut heard = Vec::new();
    let end = stream.read_to_end(&mut heard).await.map(drop);
    ensure!(plan.question().starts_with(&heard), "{plan:?}: the server heard other bytes");
    let is_told = is_either_aborted(&said, &end);
    ensure!(is_told || of_client == Abort::MayLookLikeAnEnd && end.is_ok(), "{plan:?}: {said:?} and {end:?}");
    Ok(())
}
