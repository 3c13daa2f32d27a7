//! Engines that a test controls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use imgopen_engine::{Engine, EngineError, Format, Grade, Inputs, Job, Monitor, Offer, Output, Picture};
use imgopen_picture as picture;
use imgopen_types::{Operation, operations};
use tokio::sync::{Semaphore, watch};

/// What an engine does with a job.
type Act = dyn Fn(Job, Monitor) -> BoxFuture<'static, Result<Output, EngineError>> + Send + Sync;

/// An engine for one operation.
pub struct Own {
    operation: &'static Operation,
    act: Arc<Act>,
}

/// An engine for `enlarge_image` whose jobs end only when the test opens the gate.
pub struct Gate {
    go: Arc<Semaphore>,
    inside: Arc<watch::Sender<usize>>,
    most: Arc<AtomicUsize>,
    /// What each job takes, in units of 64 KiB.
    memory: u64,
}

impl Own {
    pub fn new<F>(operation: &'static Operation, act: impl Fn(Job, Monitor) -> F + Send + Sync + 'static) -> Arc<Self>
    where
        F: Future<Output = Result<Output, EngineError>> + Send + 'static,
    {
        Arc::new(Self { operation, act: Arc::new(move |job, monitor| act(job, monitor).boxed()) })
    }
}

impl Engine for Own {
    fn name(&self) -> &'static str {
        "own"
    }

    fn offers(&self) -> Vec<Offer> {
        offer(self.operation)
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        (self.act)(job, monitor)
    }
}

impl Gate {
    pub fn new() -> Arc<Self> {
        Self::with_memory(0)
    }

    /// A gate whose jobs take that many units of 64 KiB each.
    pub fn with_memory(memory: u64) -> Arc<Self> {
        let go = Arc::new(Semaphore::new(0));
        Arc::new(Self { go, inside: Arc::new(watch::channel(0).0), most: Arc::default(), memory })
    }

    /// Lets this number of jobs end.
    pub fn open(&self, count: usize) {
        self.go.add_permits(count);
    }

    /// Waits until this number of jobs run.
    pub async fn holds(&self, count: usize) {
        let mut inside = self.inside.subscribe();
        let reached = inside.wait_for(|inside| *inside == count);
        tokio::time::timeout(super::DEADLINE, reached).await.expect("too few or too many jobs run").unwrap();
    }

    /// Returns how many jobs run.
    pub fn inside(&self) -> usize {
        *self.inside.borrow()
    }

    /// Forgets the largest number of jobs that ran at once, and returns it.
    pub fn reset(&self) -> usize {
        self.most.swap(*self.inside.borrow(), Ordering::SeqCst)
    }

    /// Returns the largest number of jobs that ran at once.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// Counts a job as long as it runs, however it ends.
struct Inside(Arc<watch::Sender<usize>>);

impl Inside {
    fn new(inside: &Arc<watch::Sender<usize>>, most: &AtomicUsize) -> Self {
        inside.send_modify(|count| {
            *count += 1;
            most.fetch_max(*count, Ordering::SeqCst);
        });
        Self(inside.clone())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Engine for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn offers(&self) -> Vec<Offer> {
        offer(&operations::ENLARGE_IMAGE)
    }

    fn memory(&self, _: &Job) -> u64 {
        self.memory * 64 * 1024
    }

    fn run(&self, _: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let (go, inside, most) = (self.go.clone(), self.inside.clone(), self.most.clone());
        Box::pin(async move {
            let _inside = Inside::new(&inside, &most);
            monitor.until_cancelled(go.acquire()).await?.unwrap().forget();
            Ok(dot())
        })
    }
}

fn offer(operation: &'static Operation) -> Vec<Offer> {
    vec![Offer { inputs: Inputs::Unused, ..Offer::new(operation, Grade::Draft) }]
}

/// A result with a small picture.
pub fn dot() -> Output {
    Output { pictures: vec![dot_picture()], ..Output::default() }
}

pub fn dot_picture() -> Picture {
    let image = image::DynamicImage::new_rgb8(3, 2);
    let bytes = picture::encode(&image, Format::Png, &Default::default()).unwrap();
    Picture { bytes, format: Format::Png, width: 3, height: 2, seed: None }
}
