//! Rows that are taken from one catalog into another, when `DATABASE_URL` is to be another one.

use anyhow::Context as _;

use crate::{
    adapters::{
        catalog::SqlCatalog,
        ports::{Catalog as _, CatalogFilter},
    },
    metrics::Metrics,
};

/// Rows in one go.
const PAGE: u32 = 200;

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Rows that were taken.
    pub taken: u64,
    /// Rows of which the other catalog had newer ones.
    pub passed_by: u64,
}

/// Takes every row of one catalog into another, which may have rows already. Begun again after it was interrupted, it comes to
/// the same.
///
/// # Errors
/// One of them cannot be opened, or ends in the middle.
pub async fn import_catalog(from: &str, to: &str) -> anyhow::Result<Imported> {
    // Nobody asks for the figures of a program that ends with this.
    let metrics = Metrics::new()?;
    let source = SqlCatalog::open_existing(from, metrics.clone()).await;
    let source = source.context("--import-catalog cannot be opened")?;
    let target = SqlCatalog::open(to, metrics).await.context("DATABASE_URL cannot be opened")?;
    let mut imported = Imported::default();
    let mut filter = CatalogFilter { limit: PAGE, ..CatalogFilter::default() };
    loop {
        let page = source.page(filter.clone()).await.context("--import-catalog cannot be read")?;
        for row in page.rows {
            // What is to be told of it was told, or waits, in the catalog that it comes from.
            let is_put = target.put(row, Vec::new()).await.context("DATABASE_URL cannot be written")?;
            *(if is_put { &mut imported.taken } else { &mut imported.passed_by }) += 1;
        }
        let Some(next) = page.next else { return Ok(imported) };
        filter.after = Some(next);
    }
}
