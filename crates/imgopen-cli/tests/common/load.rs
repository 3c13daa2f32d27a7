//! The load: submitters that continue through kills and faults of the service, and a record of every answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::{Answer, post};
use super::pictures::PictureServer;
use super::program::Key;
use super::receiver::Receiver;

/// The expected result of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// Test cards of a size, with a prompt and consecutive seeds, if the operation has seeds.
    Cards { count: usize, size: (u32, u32), prompt: String, seed: Option<i64> },
    /// One picture of a size and a single colour.
    Plain { size: (u32, u32), color: u32 },
    /// No result, because no trainer is configured.
    Training,
}

/// A submitted request and its answers.
#[derive(Debug, Clone)]
pub struct Submitted {
    pub caller_id: String,
    pub operation: &'static str,
    pub body: Value,
    pub idempotency: Option<String>,
    pub truth: Truth,
    /// The ids in its answers; a training's answer contains none.
    pub answers: Vec<Option<String>>,
    pub cancel: Cancel,
}

/// Whether a task was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    Never,
    /// Without an answer.
    Asked,
    Answered,
}

/// What submits and others met under faults of the machine, where they may be asked to wait.
#[derive(Debug, Default)]
pub struct Trouble {
    /// Whether the machine has a fault at the moment.
    pub is_faulty: AtomicBool,
    /// How long each answered submit took, and whether there was a fault.
    pub times: Mutex<Vec<(bool, Duration)>>,
    /// How often callers were asked to wait.
    pub refusals: Mutex<usize>,
    /// The pictures that were read meanwhile.
    pub pictures: Mutex<usize>,
}

/// The load. Clones share its state.
#[derive(Clone)]
pub struct Load {
    key: Key,
    http: reqwest::Client,
    service: Arc<RwLock<String>>,
    pictures: PictureServer,
    receiver: String,
    stop: Arc<AtomicBool>,
    book: Arc<Mutex<Vec<Submitted>>>,
    trouble: Option<Arc<Trouble>>,
    /// The model for pictures by a back end; without it, the sandbox makes test cards.
    model: Option<&'static str>,
    /// Whether several processes share the work.
    is_shared: bool,
}

impl Load {
    /// Creates a load; nothing is submitted yet.
    pub async fn new(key: &Key, receiver: &Receiver) -> Self {
        Self::with(key, receiver, None).await
    }

    /// Creates a load for a machine with faults, which also queries, cancels and reads pictures.
    pub async fn in_trouble(key: &Key, receiver: &Receiver, trouble: Arc<Trouble>) -> Self {
        Self::with(key, receiver, Some(trouble)).await
    }

    /// Creates a load for several processes behind one address. Each call has a connection of its own, and so perhaps another
    /// process. Nothing is trained, because data sets are of a process; instead, some tasks take longer than a lease.
    pub async fn on_a_fleet(key: &Key, receiver: &Receiver, trouble: Arc<Trouble>) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).pool_max_idle_per_host(0);
        Self { http: http.build().unwrap(), is_shared: true, ..Self::with(key, receiver, Some(trouble)).await }
    }

    async fn with(key: &Key, receiver: &Receiver, trouble: Option<Arc<Trouble>>) -> Self {
        Self {
            key: key.clone(),
            http: reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap(),
            service: Arc::default(),
            pictures: PictureServer::start().await,
            receiver: receiver.url.clone(),
            stop: Arc::default(),
            book: Arc::default(),
            trouble,
            model: None,
            is_shared: false,
        }
    }

    /// Has a model of a back end make pictures in place of test cards.
    pub fn with_model(self, model: &'static str) -> Self {
        Self { model: Some(model), ..self }
    }

    /// Sets the current URL of the service.
    pub fn serve_at(&self, url: &str) {
        *self.service.write().unwrap() = url.to_owned();
    }

    /// Stops the submitters, once their repeatable requests are answered.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Everything that was submitted.
    pub fn book(&self) -> Vec<Submitted> {
        self.book.lock().unwrap().clone()
    }

    /// Submits requests one after another, and sometimes repeats an earlier one.
    pub async fn submit(self, seed: u64, submitter: u64) {
        let mut random = fastrand::Rng::with_seed(seed ^ (submitter + 1));
        let mut safe: Vec<usize> = Vec::new();
        for number in 0.. {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let place = self.note(self.request(&mut random, &format!("s{submitter}-{number}")));
            if self.is_repeatable(place) {
                self.insist(place).await;
                safe.push(place);
            } else {
                // If the answer is cut off, the outcome stays unknown.
                self.attempt(place).await;
            }
            if let Some(place) = random.choice(&safe).copied().filter(|_| number % 5 == 0) {
                self.insist(place).await;
            }
            if self.trouble.is_some() {
                self.meddle(&mut random).await;
            }
            tokio::time::sleep(Duration::from_millis(random.u64(40..120))).await;
        }
    }

    fn note(&self, submitted: Submitted) -> usize {
        let mut book = self.book.lock().unwrap();
        book.push(submitted);
        book.len() - 1
    }

    fn is_repeatable(&self, place: usize) -> bool {
        let submitted = &self.book.lock().unwrap()[place];
        submitted.idempotency.is_some() || submitted.truth == Truth::Training
    }

    /// Submits until there is an answer, which is safe because the request is repeatable.
    async fn insist(&self, place: usize) {
        while !self.attempt(place).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn attempt(&self, place: usize) -> bool {
        let submitted = self.book.lock().unwrap()[place].clone();
        let answer = self.send(&submitted).await;
        let is_answered = answer.is_some();
        self.book.lock().unwrap()[place].answers.extend(answer);
        is_answered
    }

    /// Submits once. Returns the id in the answer, if there is an answer.
    async fn send(&self, submitted: &Submitted) -> Option<Option<String>> {
        let key = submitted.idempotency.as_deref().map(|key| ("idempotency-key", key));
        let is_faulty = || self.trouble.as_ref().is_some_and(|trouble| trouble.is_faulty.load(Ordering::SeqCst));
        let (begun, was_faulty) = (Instant::now(), is_faulty());
        let answer = self.call(submitted.operation, key.as_slice(), &submitted.body).await?;
        assert_eq!(answer.status, 200, "{submitted:?}: {answer:?}");
        if let Some(trouble) = &self.trouble {
            trouble.times.lock().unwrap().push((was_faulty || is_faulty(), begun.elapsed()));
        }
        Some(answer.task().map(str::to_owned))
    }

    /// Calls an operation once. There is no answer if the connection breaks, or if the service asks to wait.
    async fn call(&self, operation: &str, headers: &[(&str, &str)], body: &Value) -> Option<Answer> {
        let url = self.service.read().unwrap().clone();
        let answer = post(&self.http, (&self.key, &url), operation, headers, body).await.ok()?;
        match &self.trouble {
            // A process of a fleet that has just started knows of no worker yet.
            Some(trouble) if answer.asks_to_wait() || (self.is_shared && answer.status == 503) => {
                *trouble.refusals.lock().unwrap() += 1;
                None
            }
            _ => Some(answer),
        }
    }

    /// Sometimes cancels a task, or looks at one and reads its pictures.
    async fn meddle(&self, random: &mut fastrand::Rng) {
        let place = random.usize(0..self.book.lock().unwrap().len());
        let submitted = self.book.lock().unwrap()[place].clone();
        match random.u8(0..10) {
            0 => self.cancel(place, &submitted).await,
            1..4 => self.look(&submitted).await,
            _ => {}
        }
    }

    async fn cancel(&self, place: usize, submitted: &Submitted) {
        let Some(id) = submitted.answers.iter().flatten().next() else { return };
        self.book.lock().unwrap()[place].cancel = Cancel::Asked;
        let Some(answer) = self.call("cancel_task", &[], &json!({"taskId": id})).await else { return };
        match answer.status.as_u16() {
            200 => self.book.lock().unwrap()[place].cancel = Cancel::Answered,
            // It had ended already, which an earlier cancel may have done.
            409 if submitted.cancel == Cancel::Never => self.book.lock().unwrap()[place].cancel = Cancel::Never,
            409 => {}
            _ => panic!("{submitted:?}: {answer:?}"),
        }
    }

    async fn look(&self, submitted: &Submitted) {
        let question = json!({"callerId": submitted.caller_id});
        let Some(answer) = self.call("list_tasks", &[], &question).await else { return };
        assert_eq!(answer.status, 200, "{answer:?}");
        let rows = answer.body["data"]["rows"].as_array().unwrap();
        assert!(!rows.is_empty() || submitted.answers.is_empty(), "{submitted:?} is lost");
        let mut urls = Vec::new();
        for row in rows {
            urls.extend(row["outputImageUrlList"].as_array().into_iter().flatten().map(|url| url.as_str().unwrap()));
        }
        for url in urls {
            // The address is that of an earlier process, perhaps.
            let url = format!("{}{}", self.service.read().unwrap(), &url[url.find("/assets/").unwrap()..]);
            let Ok(response) = self.http.get(url).send().await else { return };
            let status = response.status();
            let Ok(bytes) = response.bytes().await else { return };
            assert!(status == 200 || status == 503, "{status}");
            if status == 200 {
                image::load_from_memory(&bytes).unwrap_or_else(|error| panic!("{error}: {submitted:?}"));
                *self.trouble.as_ref().unwrap().pictures.lock().unwrap() += 1;
            }
        }
    }

    fn request(&self, random: &mut fastrand::Rng, caller_id: &str) -> Submitted {
        let mut submitted = match random.u8(0..10) {
            0..4 => cards(random, caller_id, self.model),
            4..6 => self.pushed_card(random, caller_id),
            6..9 => self.enlarged(random, caller_id),
            _ if self.is_shared => self.patient_card(random, caller_id),
            _ => self.training(caller_id),
        };
        let with_key = submitted.truth != Truth::Training && random.u8(0..2) == 0;
        submitted.idempotency = with_key.then(|| format!("key-{caller_id}"));
        submitted
    }

    fn pushed_card(&self, random: &mut fastrand::Rng, caller_id: &str) -> Submitted {
        let (prompt, (width, height)) = (prompt(random, caller_id), size(random));
        let body = json!({
            "businessTaskId": caller_id, "comfyTaskType": "Flux1DevFP8", "prompt": prompt, "width": width, "height": height,
            "steps": random.u8(1..6), "callbackUrl": self.callback("flux_text_to_image"),
        });
        let truth = Truth::Cards { count: 1, size: (width, height), prompt, seed: None };
        submitted(caller_id, "flux_text_to_image", body, truth)
    }

    /// One that takes longer than a lease and the time until its end is noticed, or else a quick one.
    fn patient_card(&self, random: &mut fastrand::Rng, caller_id: &str) -> Submitted {
        let mut submitted = self.pushed_card(random, caller_id);
        if random.bool() {
            let patient = format!("picture of {caller_id} [sandbox: delay=8s]");
            submitted.body["prompt"] = Value::from(patient.as_str());
            if let Truth::Cards { prompt, .. } = &mut submitted.truth {
                *prompt = patient;
            }
        }
        submitted
    }

    fn enlarged(&self, random: &mut fastrand::Rng, caller_id: &str) -> Submitted {
        let (width, height, scale) = (random.u32(5..60), random.u32(5..60), random.u32(2..9));
        let color = random.u32(0..1 << 24);
        let body = json!({
            "businessTaskId": caller_id, "scale": scale, "callbackUrl": self.callback("enlarge_image"),
            "sourceImage": format!("{}/plain/{color:06x}/{width}x{height}.png", self.pictures.url),
        });
        submitted(caller_id, "enlarge_image", body, Truth::Plain { size: (width * scale, height * scale), color })
    }

    fn training(&self, caller_id: &str) -> Submitted {
        let urls: Value = (0..10).map(|number| format!("{}/train/{number}.png", self.pictures.url)).collect();
        let callback = self.callback("submit_training");
        let body = json!({"taskId": caller_id, "fileUrlList": urls, "callbackUrl": callback});
        submitted(caller_id, "submit_training", body, Truth::Training)
    }

    fn callback(&self, operation: &str) -> String {
        format!("{}/{operation}", self.receiver)
    }

    /// Submits a task that never ends.
    pub async fn hang(&self, caller_id: &str) {
        let mut submitted = self.pushed_card(&mut fastrand::Rng::new(), caller_id);
        submitted.body["prompt"] = Value::from("[sandbox: hang]");
        self.send(&submitted).await.expect("the service runs");
    }

    /// Submits the same request with the same idempotency key each time, and returns the id in the answer.
    pub async fn repeat(&self, caller_id: &str) -> String {
        let mut submitted = cards(&mut fastrand::Rng::with_seed(1), caller_id, self.model);
        submitted.idempotency = Some(caller_id.to_owned());
        self.send(&submitted).await.expect("the service runs").expect("the answer contains an id")
    }
}

fn cards(random: &mut fastrand::Rng, caller_id: &str, model: Option<&str>) -> Submitted {
    let (prompt, (width, height)) = match model {
        // Back ends make multiples of 8 pixels, and a directive would call the sandbox.
        Some(_) => (format!("picture of {caller_id}"), (8 * random.u32(8..20), 8 * random.u32(8..20))),
        None => (prompt(random, caller_id), size(random)),
    };
    let seed = random.i64(0..1 << 31);
    let (batches, batch) = (random.usize(1..3), random.usize(1..3));
    let body = json!({
        "prompt": prompt, "n_iter": batches, "batch_size": batch, "steps": random.u8(1..6), "seed": seed.to_string(),
        "width": width, "height": height, "alwayson_scripts": {
            "sd_model_checkpoint": model.unwrap_or("any.safetensors"), "id_task": caller_id, "output_image_format": "png",
        },
    });
    let truth = Truth::Cards { count: batches * batch, size: (width, height), prompt, seed: Some(seed) };
    submitted(caller_id, "text_to_image", body, truth)
}

fn size(random: &mut fastrand::Rng) -> (u32, u32) {
    (random.u32(60..160), random.u32(60..160))
}

/// Returns a unique prompt that also sets the pace of the sandbox.
fn prompt(random: &mut fastrand::Rng, caller_id: &str) -> String {
    format!("picture of {caller_id} [sandbox: slow={}ms]", random.u8(1..40))
}

fn submitted(caller_id: &str, operation: &'static str, body: Value, truth: Truth) -> Submitted {
    Submitted {
        caller_id: caller_id.to_owned(),
        operation,
        body,
        idempotency: None,
        truth,
        answers: Vec::new(),
        cancel: Cancel::Never,
    }
}
