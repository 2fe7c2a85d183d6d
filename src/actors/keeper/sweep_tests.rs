use actix::{Actor, Context, Handler};

use super::*;
use crate::{
    actors::{accounts::kit::Stores, keeper::Retention},
    protocol::{NodeId, Refusal},
};

/// Takes nothing away.
struct Nobody;

impl Actor for Nobody {
    type Context = Context<Self>;
}

impl Handler<DeleteRecording> for Nobody {
    type Result = Result<(), Refusal>;

    fn handle(&mut self, _: DeleteRecording, _: &mut Self::Context) -> Self::Result {
        Ok(())
    }
}

#[actix::test]
async fn a_sweep_that_waits_for_what_never_comes_is_put_off_and_the_next_one_is_none_the_worse() {
    let stores = Stores::open().await;
    let config = KeeperConfig {
        retention: Retention::default(),
        every: Duration::from_secs(60),
        cleanup_chunks: true,
        clustered: false,
    };
    let folders = WorkFolders::new(stores.folder.path(), &NodeId::parse("node").expect("valid"));
    let metrics = Metrics::new().expect("valid");
    let delete = Nobody.start().recipient();
    let mut sweep = Sweep::new(config, (stores.ports(), folders), stores.accounts(), delete, metrics.clone());
    let outcomes = || ["put_off", "done"].map(|outcome| metrics.sweeps.with_label_values(&[outcome]).get());
    let loss = stores.ports().ledger.loss().await.expect("an answer");
    stores.ports().ledger.set_whole(loss).await.expect("an answer");
    stores.ledger.hang_at(|operation| operation == "now_ms");
    sweep.run(Duration::from_millis(20)).await;
    assert_eq!(outcomes(), [1, 0]);
    stores.ledger.hang_at(|_| false);
    sweep.run(Duration::from_secs(60)).await;
    assert_eq!(outcomes(), [1, 1]);
}
