"""The thread pool and the loop over a plan's tasks, as native code that holds no lock of Python's.

``run`` walks an array of tasks (function, arguments, iterations, iterations at a time). A task with more iterations
than it does at a time is shared with the pool: the caller opens it, all threads take pieces of it until none is left,
and the caller goes on when the last one is done. Workers wait spinning for a while, then asleep. A second caller that
finds the pool taken does its tasks alone. ``together`` is the function of a task whose iterations are the pieces of
several others; its arguments are theirs: function, arguments, iterations, iterations at a time, and the number of
pieces up to and with this one's.

Words of the pool (8 bytes each): 0 taken, 8 open, 9 epoch, 16 next, 24 active, 32 function, 33 arguments, 34 table,
35 iterations, 36 piece, 40 stop, 48 sleepers, 56 spared; the mutex is at byte 512, the condition at 768. The workers
up to the number that is spared take no part: their cores are left to Python, where it goes on meanwhile.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading

import numpy as np

from arrax.codegen import cpu

SPIN = 8000
_POOL_WORDS = 256

_SOURCE = """
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @sched_yield()

define internal void @pieces(ptr %pool, ptr %f, ptr %args, ptr %table, i64 %total, i64 %piece) {
entry:
  %next = getelementptr i64, ptr %pool, i64 16
  br label %head
head:
  %lo = atomicrmw add ptr %next, i64 %piece seq_cst
  %more = icmp slt i64 %lo, %total
  br i1 %more, label %body, label %done
body:
  %end = add i64 %lo, %piece
  %inside = icmp slt i64 %end, %total
  %hi = select i1 %inside, i64 %end, i64 %total
  call void %f(ptr %table, ptr %args, i64 %lo, i64 %hi)
  br label %head
done:
  ret void
}

define void @NAME(ptr %pool, ptr %tasks, i64 %count, ptr %table, i64 %spared) {
entry:
  %words = load i64, ptr %pool
  %active.p = getelementptr i64, ptr %pool, i64 24
  %open.p = getelementptr i64, ptr %pool, i64 8
  %epoch.p = getelementptr i64, ptr %pool, i64 9
  %next.p = getelementptr i64, ptr %pool, i64 16
  %f.p = getelementptr i64, ptr %pool, i64 32
  %args.p = getelementptr i64, ptr %pool, i64 33
  %table.p = getelementptr i64, ptr %pool, i64 34
  %total.p = getelementptr i64, ptr %pool, i64 35
  %piece.p = getelementptr i64, ptr %pool, i64 36
  %sleepers.p = getelementptr i64, ptr %pool, i64 48
  %spared.p = getelementptr i64, ptr %pool, i64 56
  %mutex = getelementptr i8, ptr %pool, i64 512
  %cond = getelementptr i8, ptr %pool, i64 768
  %attempt = cmpxchg ptr %pool, i64 0, i64 1 seq_cst seq_cst
  %mine = extractvalue { i64, i1 } %attempt, 1
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %i.next, %finished ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %task, label %done
task:
  %at = mul i64 %i, 4
  %f.at = getelementptr i64, ptr %tasks, i64 %at
  %args.at = getelementptr i64, ptr %f.at, i64 1
  %total.at = getelementptr i64, ptr %f.at, i64 2
  %piece.at = getelementptr i64, ptr %f.at, i64 3
  %f = load ptr, ptr %f.at
  %args = load ptr, ptr %args.at
  %total = load i64, ptr %total.at
  %piece = load i64, ptr %piece.at
  %small = icmp sle i64 %total, %piece
  %theirs = xor i1 %mine, true
  %alone = or i1 %small, %theirs
  br i1 %alone, label %single, label %share
single:
  call void %f(ptr %table, ptr %args, i64 0, i64 %total)
  br label %finished
share:
  store ptr %f, ptr %f.p
  store ptr %args, ptr %args.p
  store ptr %table, ptr %table.p
  store i64 %total, ptr %total.p
  store i64 %piece, ptr %piece.p
  store atomic i64 %spared, ptr %spared.p seq_cst, align 8
  store atomic i64 0, ptr %next.p seq_cst, align 8
  %old = atomicrmw add ptr %epoch.p, i64 1 seq_cst
  store atomic i64 1, ptr %open.p seq_cst, align 8
  %sleepers = load atomic i64, ptr %sleepers.p seq_cst, align 8
  %asleep = icmp sgt i64 %sleepers, %spared
  br i1 %asleep, label %wake, label %work
wake:
  %l1 = call i32 @pthread_mutex_lock(ptr %mutex)
  %l2 = call i32 @pthread_cond_broadcast(ptr %cond)
  %l3 = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %work
work:
  call void @pieces(ptr %pool, ptr %f, ptr %args, ptr %table, i64 %total, i64 %piece)
  store atomic i64 0, ptr %open.p seq_cst, align 8
  br label %join
join:
  %spins = phi i64 [ 0, %work ], [ %spins.next, %again ]
  %active = load atomic i64, ptr %active.p seq_cst, align 8
  %busy = icmp ne i64 %active, 0
  br i1 %busy, label %wait, label %finished
wait:
  PAUSE
  %spins.next = add i64 %spins, 1
  %long = icmp sgt i64 %spins.next, SPIN
  br i1 %long, label %yield, label %again
yield:
  %y = call i32 @sched_yield()
  br label %again
again:
  br label %join
finished:
  %i.next = add i64 %i, 1
  br label %head
done:
  store i64 1, ptr %table
  br i1 %mine, label %release, label %exit
release:
  store atomic i64 0, ptr %pool seq_cst, align 8
  br label %exit
exit:
  ret void
}

define void @NAME_together(ptr %table, ptr %args, i64 %lo, i64 %hi) {
entry:
  br label %find
find:
  %row = phi ptr [ %args, %entry ], [ %row.next, %behind ], [ %row, %call ]
  %begin = phi i64 [ 0, %entry ], [ %end, %behind ], [ %begin, %call ]
  %p = phi i64 [ %lo, %entry ], [ %p, %behind ], [ %until, %call ]
  %more = icmp slt i64 %p, %hi
  br i1 %more, label %look, label %done
look:
  %end.at = getelementptr i64, ptr %row, i64 4
  %end = load i64, ptr %end.at
  %here = icmp slt i64 %p, %end
  br i1 %here, label %call, label %behind
behind:
  %row.next = getelementptr i64, ptr %row, i64 5
  br label %find
call:
  %args.at = getelementptr i64, ptr %row, i64 1
  %total.at = getelementptr i64, ptr %row, i64 2
  %piece.at = getelementptr i64, ptr %row, i64 3
  %f = load ptr, ptr %row
  %own = load ptr, ptr %args.at
  %total = load i64, ptr %total.at
  %piece = load i64, ptr %piece.at
  %ends = icmp slt i64 %hi, %end
  %until = select i1 %ends, i64 %hi, i64 %end
  %skipped = sub i64 %p, %begin
  %first = mul i64 %skipped, %piece
  %taken = sub i64 %until, %begin
  %last = mul i64 %taken, %piece
  %inside = icmp slt i64 %last, %total
  %stop = select i1 %inside, i64 %last, i64 %total
  call void %f(ptr %table, ptr %own, i64 %first, i64 %stop)
  br label %find
done:
  ret void
}

define void @NAME_worker(ptr %pool, i64 %number) {
entry:
  %open.p = getelementptr i64, ptr %pool, i64 8
  %epoch.p = getelementptr i64, ptr %pool, i64 9
  %active.p = getelementptr i64, ptr %pool, i64 24
  %stop.p = getelementptr i64, ptr %pool, i64 40
  %sleepers.p = getelementptr i64, ptr %pool, i64 48
  %f.p = getelementptr i64, ptr %pool, i64 32
  %args.p = getelementptr i64, ptr %pool, i64 33
  %table.p = getelementptr i64, ptr %pool, i64 34
  %total.p = getelementptr i64, ptr %pool, i64 35
  %piece.p = getelementptr i64, ptr %pool, i64 36
  %spared.p = getelementptr i64, ptr %pool, i64 56
  %mutex = getelementptr i8, ptr %pool, i64 512
  %cond = getelementptr i8, ptr %pool, i64 768
  br label %rest
rest:
  %last = phi i64 [ 0, %entry ], [ %seen, %leave ], [ %last.w, %woken ]
  br label %spin
spin:
  %n = phi i64 [ 0, %rest ], [ %n.next, %idle ]
  %stop = load atomic i64, ptr %stop.p seq_cst, align 8
  %stopped = icmp ne i64 %stop, 0
  br i1 %stopped, label %exit, label %look
look:
  %open = load atomic i64, ptr %open.p seq_cst, align 8
  %epoch = load atomic i64, ptr %epoch.p seq_cst, align 8
  %is.open = icmp ne i64 %open, 0
  %is.new = icmp ne i64 %epoch, %last
  %spared = load atomic i64, ptr %spared.p seq_cst, align 8
  %is.asked = icmp sgt i64 %number, %spared
  %is.there = and i1 %is.open, %is.asked
  %go = and i1 %is.there, %is.new
  br i1 %go, label %enter, label %idle
idle:
  PAUSE
  %n.next = add i64 %n, 1
  %tired = icmp sgt i64 %n.next, SPIN
  br i1 %tired, label %sleep, label %spin
sleep:
  %l1 = call i32 @pthread_mutex_lock(ptr %mutex)
  %s1 = atomicrmw add ptr %sleepers.p, i64 1 seq_cst
  br label %check
check:
  %open.s = load atomic i64, ptr %open.p seq_cst, align 8
  %epoch.s = load atomic i64, ptr %epoch.p seq_cst, align 8
  %stop.s = load atomic i64, ptr %stop.p seq_cst, align 8
  %a = icmp ne i64 %open.s, 0
  %b = icmp ne i64 %epoch.s, %last
  %c = icmp ne i64 %stop.s, 0
  %spared.s = load atomic i64, ptr %spared.p seq_cst, align 8
  %d = icmp sgt i64 %number, %spared.s
  %ad = and i1 %a, %d
  %ab = and i1 %ad, %b
  %abc = or i1 %ab, %c
  br i1 %abc, label %wakened, label %doze
doze:
  %l2 = call i32 @pthread_cond_wait(ptr %cond, ptr %mutex)
  br label %check
wakened:
  %s2 = atomicrmw sub ptr %sleepers.p, i64 1 seq_cst
  %l3 = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %woken
woken:
  %last.w = phi i64 [ %last, %wakened ]
  br label %rest
enter:
  %e1 = atomicrmw add ptr %active.p, i64 1 seq_cst
  %open.e = load atomic i64, ptr %open.p seq_cst, align 8
  %seen = load atomic i64, ptr %epoch.p seq_cst, align 8
  %still = icmp ne i64 %open.e, 0
  br i1 %still, label %work, label %leave
work:
  %f = load ptr, ptr %f.p
  %args = load ptr, ptr %args.p
  %table = load ptr, ptr %table.p
  %total = load i64, ptr %total.p
  %piece = load i64, ptr %piece.p
  call void @pieces(ptr %pool, ptr %f, ptr %args, ptr %table, i64 %total, i64 %piece)
  br label %leave
leave:
  %e2 = atomicrmw sub ptr %active.p, i64 1 seq_cst
  br label %rest
exit:
  ret void
}
"""


def count() -> int:
    """Threads that work: ``ARRAX_THREADS``, or the cores that this process may use (affinity, cgroup quota)."""
    chosen = os.environ.get("ARRAX_THREADS", "")
    if chosen.isdigit() and int(chosen) > 0:
        return int(chosen)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()[:2]
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return cores


def _pause() -> str:
    machine = os.uname().machine if hasattr(os, "uname") else ""
    if machine in ("x86_64", "AMD64", "i686"):
        return "call void @llvm.x86.sse2.pause()"
    if machine in ("aarch64", "arm64"):
        return "call void @llvm.aarch64.hint(i32 1)"
    return "fence seq_cst"


class Pool:
    """The process's worker threads."""

    def __init__(self) -> None:
        source = _SOURCE.replace("PAUSE", _pause()).replace("SPIN", str(SPIN))
        address = cpu.function(source, lambda name: source.replace("NAME", name))
        self.threads = count()
        # run(pool, tasks, number of tasks, table, workers to spare)
        word = ctypes.c_int64
        self.run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, word, ctypes.c_void_p, word)(address)
        self.spare = 1 if self.threads > 2 else 0  # how many to spare in the background
        self.together = cpu.sibling(source, "_together")
        self._worker = ctypes.CFUNCTYPE(None, ctypes.c_void_p, word)(cpu.sibling(source, "_worker"))
        self._memory = np.zeros(_POOL_WORDS + 8, np.int64)
        start = -(-self._memory.ctypes.data // 64) * 64
        self.address = start
        libc = ctypes.CDLL(None)
        self._libc = libc
        libc.pthread_mutex_init(ctypes.c_void_p(start + 512), None)
        libc.pthread_cond_init(ctypes.c_void_p(start + 768), None)
        self._workers = [
            threading.Thread(target=self._worker, args=(start, i), name=f"arrax-{i}", daemon=True)
            for i in range(1, self.threads)
        ]
        for worker in self._workers:
            worker.start()

    def _word(self, number: int) -> ctypes.c_int64:
        return ctypes.c_int64.from_address(self.address + 8 * number)

    def stop(self) -> None:
        """Ends the workers; tasks still run, on their caller."""
        if not self._workers:
            return
        self._word(40).value = 1
        mutex, cond = (ctypes.c_void_p(self.address + at) for at in (512, 768))
        self._libc.pthread_mutex_lock(mutex)
        self._libc.pthread_cond_broadcast(cond)
        self._libc.pthread_mutex_unlock(mutex)
        for worker in self._workers:
            worker.join()
        self._workers = []


_pool: Pool | None = None
_lock = threading.Lock()


def pool() -> Pool:
    """The pool; its threads start when it is first asked for."""
    global _pool
    if _pool is None:
        with _lock:
            if _pool is None:
                _pool = Pool()
    return _pool


def together() -> int:
    """The address of the function that works on several tasks."""
    return pool().together


def _after_fork() -> None:
    # the workers exist only in the parent; the child starts its own when it needs them
    global _pool, _lock
    _pool = None
    _lock = threading.Lock()


def _at_exit() -> None:
    if _pool is not None:
        _pool.stop()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
