//! The kernels of a loop's body set up once for all iterations: their pointer tables, registers and numbers stay in memory, and from iteration to
//! iteration only the buffers they are bound to change. Kernels worth more than one thread, and branches and loops within the body, run as
//! anywhere else.

use super::drive::Driver;
use super::executable::{Code, CpuExecutable, Instance, Step, Table};
use super::matmul::{Block, Matmul};
use super::run::Task;
use crate::base::Result;
use smallvec::SmallVec;

/// Parts of the memory start at multiples of this.
const ALIGN: usize = 64;
/// The instances a loop may keep set up: their memory should stay in the second cache.
const MOST_BYTES: usize = 256 << 10;

/// A kernel of the body.
enum Resident<'a> {
    Driven(Box<Driven<'a>>),
    Product(Box<Product<'a>>),
    /// Step number .0, as it is.
    Step(usize),
}

/// A tile program with its task.
struct Driven<'a> {
    driver: &'a Driver,
    piece: usize,
    units: usize,
    bound: Buffers<'a>,
    task: Option<Task<'a>>,
    mem: *mut u8,
}

/// A matrix product of one block.
struct Product<'a> {
    matmul: &'a Matmul,
    block: Block,
    offsets: [Option<Driven<'a>>; 2],
    /// Where the factors begin.
    at: *mut i64,
    bound: Buffers<'a>,
    task: Option<Task<'a>>,
    /// The product, and the epilogue's memory.
    to: *mut u8,
    mem: *mut u8,
}

/// The buffers of a kernel: two tables that take turns, so that the one a task holds is never written.
struct Buffers<'a> {
    slots: &'a [u32],
    /// A pointer that follows the slots' buffers.
    extra: Option<*mut u8>,
    tables: [*mut *mut u8; 2],
    turn: usize,
}

impl<'a> Buffers<'a> {
    fn len(&self) -> usize {
        self.slots.len() + self.extra.is_some() as usize
    }

    /// The buffers of this iteration.
    ///
    /// # Safety
    /// Nobody holds what was returned two calls ago; the tables' memory outlives `'a`.
    unsafe fn next(&mut self, table: &[*mut u8]) -> &'a [*mut u8] {
        self.turn ^= 1;
        let to = self.tables[self.turn];
        // SAFETY: the tables have room for all.
        unsafe {
            for (i, &s) in self.slots.iter().enumerate() {
                *to.add(i) = table[s as usize];
            }
            if let Some(p) = self.extra {
                *to.add(self.slots.len()) = p;
            }
            std::slice::from_raw_parts(to, self.len())
        }
    }
}

impl Driven<'_> {
    /// # Safety
    /// The table's buffers are those of the kernel's plan.
    unsafe fn run(&mut self, table: &[*mut u8]) {
        // SAFETY: as promised; the task holds the table of the last iteration only.
        unsafe {
            let args = self.bound.next(table);
            let task = set_up(&mut self.task, &self.driver.b, args, self.mem);
            self.driver.walk(task, self.piece, 0, self.units);
        }
    }
}

/// The task over the given buffers, begun if this is the first iteration.
///
/// # Safety
/// As [`Task::start`].
unsafe fn set_up<'a, 't>(task: &'t mut Option<Task<'a>>, b: &'a super::run::Bound, args: &'a [*mut u8], mem: *mut u8) -> &'t mut Task<'a> {
    match task {
        Some(t) => {
            // SAFETY: as promised.
            unsafe { t.rebind(args) };
            t
        }
        // SAFETY: as promised.
        None => task.insert(unsafe { Task::start(b, args, std::ptr::null(), mem) }),
    }
}

impl Product<'_> {
    /// # Safety
    /// As [`Driven::run`].
    unsafe fn run(&mut self, table: &[*mut u8]) {
        // SAFETY: as promised; `at` has two numbers.
        unsafe {
            let mut begin = [0isize; 2];
            for (i, d) in self.offsets.iter_mut().enumerate() {
                if let Some(d) = d {
                    d.run(table);
                    begin[i] = *self.at.add(i) as isize;
                }
            }
            let args = self.bound.next(table);
            self.matmul.product(&self.block, args, begin, self.to);
            if let Some(b) = self.matmul.epilogue() {
                self.matmul.finish(set_up(&mut self.task, b, args, self.mem), &self.block, self.to);
            }
        }
    }
}

/// Hands out memory, or, begun at null, counts it.
struct Room {
    at: *mut u8,
    bytes: usize,
}

impl Room {
    fn take(&mut self, bytes: usize) -> *mut u8 {
        let p = self.at.wrapping_add(self.bytes);
        self.bytes += bytes.next_multiple_of(ALIGN);
        p
    }

    fn buffers<'a>(&mut self, slots: &'a [u32], extra: Option<*mut u8>) -> Buffers<'a> {
        let bytes = (slots.len() + 1) * size_of::<*mut u8>();
        Buffers { slots, extra, tables: [self.take(bytes).cast(), self.take(bytes).cast()], turn: 0 }
    }

    fn driven<'a>(&mut self, driver: &'a Driver, slots: &'a [u32], extra: Option<*mut u8>) -> Option<Driven<'a>> {
        let (piece, units) = driver.single()?;
        let bound = self.buffers(slots, extra);
        Some(Driven { driver, piece, units, bound, task: None, mem: self.take(driver.b.task_bytes()) })
    }

    fn product<'a>(&mut self, matmul: &'a Matmul, slots: &'a [u32]) -> Option<Product<'a>> {
        let block = matmul.single()?;
        let at: *mut i64 = self.take(2 * size_of::<i64>()).cast();
        let mut offsets = [None, None];
        for (i, d) in matmul.offsets().into_iter().enumerate() {
            if let Some(d) = d {
                offsets[i] = Some(self.driven(d, slots, Some(at.wrapping_add(i).cast()))?);
            }
        }
        let bound = self.buffers(slots, None);
        let to = self.take(matmul.block_bytes(&block));
        let mem = self.take(matmul.epilogue().map_or(0, super::run::Bound::task_bytes));
        Some(Product { matmul, block, offsets, at, bound, task: None, to, mem })
    }

    fn instance<'a>(&mut self, i: &'a Instance, out: &mut SmallVec<[Resident<'a>; 8]>) -> Option<()> {
        match &i.code {
            _ if !i.params.is_empty() => return None,
            Code::Driven(d) => out.push(Resident::Driven(Box::new(self.driven(d, &i.slots, None)?))),
            Code::Cut(parts) => {
                for d in parts {
                    out.push(Resident::Driven(Box::new(self.driven(d, &i.slots, None)?)));
                }
            }
            Code::Matmul(m) => out.push(Resident::Product(Box::new(self.product(m, &i.slots)?))),
            Code::Scatter(_) | Code::Conv(_) | Code::Attention(_) => return None,
        }
        Some(())
    }

    fn steps<'a>(&mut self, exe: &'a CpuExecutable) -> SmallVec<[Resident<'a>; 8]> {
        let mut out = SmallVec::new();
        for (n, s) in exe.steps().iter().enumerate() {
            let (len, bytes) = (out.len(), self.bytes);
            let kept = match s {
                Step::Kernels(l) => l.iter().try_for_each(|i| self.instance(i, &mut out)),
                Step::Control(_) => None,
            };
            if kept.is_none() || self.bytes > MOST_BYTES {
                out.truncate(len);
                self.bytes = bytes;
                out.push(Resident::Step(n));
            }
        }
        out
    }
}

/// Bytes that [`Body::new`] needs.
pub(super) fn bytes(exe: &CpuExecutable) -> usize {
    let mut room = Room { at: std::ptr::null_mut(), bytes: 0 };
    room.steps(exe);
    room.bytes
}

/// The body of a loop that is running.
pub(super) struct Body<'a> {
    exe: &'a CpuExecutable,
    steps: SmallVec<[Resident<'a>; 8]>,
    table: Table,
}

impl<'a> Body<'a> {
    /// A body in `mem`, of [`bytes`] bytes aligned to 64. Nothing is written there yet.
    pub(super) fn new(exe: &'a CpuExecutable, mem: *mut u8) -> Body<'a> {
        Body { exe, steps: Room { at: mem, bytes: 0 }.steps(exe), table: Table::new() }
    }

    /// Runs an iteration.
    ///
    /// # Errors
    /// As the plan's.
    ///
    /// # Safety
    /// Buffers of every input, every output and the arena, as large as the slots say, that lie nowhere in the body's memory, which is valid.
    pub(super) unsafe fn run(&mut self, inputs: &[*mut u8], outputs: &[*mut u8], arena: *mut u8) -> Result<()> {
        self.exe.bind(inputs, outputs, arena, &mut self.table);
        for s in &mut self.steps {
            // SAFETY: as promised.
            unsafe {
                match s {
                    Resident::Driven(d) => d.run(&self.table),
                    Resident::Product(p) => p.run(&self.table),
                    Resident::Step(n) => self.exe.step(&self.exe.steps()[*n], &self.table, &[])?,
                }
            }
        }
        Ok(())
    }
}
