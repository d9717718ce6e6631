//! What the client does.

use std::io;

use anyhow::{Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    join,
    net::TcpStream,
};

use super::{End, Plan, abort, is_either_aborted};

/// Does the client's part to its end.
pub(super) async fn client(mut stream: TcpStream, plan: Plan) -> Result<()> {
    stream.write_all(&plan.number.to_le_bytes()).await?;
    match plan.end {
        End::Regular => hear_all(stream, plan).await,
        End::ServerAborts => hear_abort(stream, plan).await,
        End::ClientAborts => {
            let mut number = [0; size_of::<u32>()];
            stream.read_exact(&mut number).await?;
            ensure!(number == plan.number.to_le_bytes(), "{number:?} is the number of another one");
            break_off(stream, plan)
        }
        End::ClientAbortsAtOnce => break_off(stream, plan),
    }
}

async fn hear_all(stream: TcpStream, plan: Plan) -> Result<()> {
    let Talk { said, heard, end } = talk(stream, plan).await;
    said?;
    end?;
    ensure!(heard == plan.whole_answer(), "it heard {} bytes, which are not the server's", heard.len());
    Ok(())
}

async fn hear_abort(stream: TcpStream, plan: Plan) -> Result<()> {
    let Talk { said, heard, end } = talk(stream, plan).await;
    ensure!(plan.whole_answer().starts_with(&heard), "it heard {} bytes, not all the server's", heard.len());
    ensure!(is_either_aborted(&said, &end), "the abort did not reach it: {said:?} and {end:?}");
    Ok(())
}

/// How saying all and hearing all went.
struct Talk {
    said: io::Result<()>,
    heard: Vec<u8>,
    end: io::Result<()>,
}

async fn talk(mut stream: TcpStream, plan: Plan) -> Talk {
    let (mut read, mut write) = stream.split();
    let say = async {
        write.write_all(plan.question()).await?;
        write.shutdown().await
    };
    let mut heard = Vec::new();
    let (said, end) = join!(say, read.read_to_end(&mut heard));
    Talk { said, heard, end: end.map(drop) }
}

/// Says what is taken at once, and aborts.
fn break_off(stream: TcpStream, plan: Plan) -> Result<()> {
    // How much that is makes no difference.
    let _ = stream.try_write(plan.question());
    Ok(abort(stream)?)
}
