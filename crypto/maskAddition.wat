;; Adds a block of keystream to a block of a vector, or takes it away: 64 bytes a turn, as lanes of 16 or
;; of 32 bits that wrap around. maskStream.ts tells what for; `npm run wasm` writes these instructions as
;; bytes to maskAdditionBytes.ts.
;;
;; Memory, in bytes:
;;            0  total   65536
;;        65536  stream  65536
(module
  (memory (export "memory") 2 2)
  (global (export "blockBytes") i32 (i32.const 65536))
  (global (export "totalAt") i32 (i32.const 0))
  (global (export "streamAt") i32 (i32.const 65536))

  ;; Each works on the first `count` bytes, rounded up to a multiple of 64.
  (func (export "add16") (param $count i32)
    (local $at i32)
    (loop $next
      (v128.store offset=0 (local.get $at)
        (i16x8.add (v128.load offset=0 (local.get $at)) (v128.load offset=65536 (local.get $at))))
      (v128.store offset=16 (local.get $at)
        (i16x8.add (v128.load offset=16 (local.get $at)) (v128.load offset=65552 (local.get $at))))
      (v128.store offset=32 (local.get $at)
        (i16x8.add (v128.load offset=32 (local.get $at)) (v128.load offset=65568 (local.get $at))))
      (v128.store offset=48 (local.get $at)
        (i16x8.add (v128.load offset=48 (local.get $at)) (v128.load offset=65584 (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 64)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $count)))))

  (func (export "subtract16") (param $count i32)
    (local $at i32)
    (loop $next
      (v128.store offset=0 (local.get $at)
        (i16x8.sub (v128.load offset=0 (local.get $at)) (v128.load offset=65536 (local.get $at))))
      (v128.store offset=16 (local.get $at)
        (i16x8.sub (v128.load offset=16 (local.get $at)) (v128.load offset=65552 (local.get $at))))
      (v128.store offset=32 (local.get $at)
        (i16x8.sub (v128.load offset=32 (local.get $at)) (v128.load offset=65568 (local.get $at))))
      (v128.store offset=48 (local.get $at)
        (i16x8.sub (v128.load offset=48 (local.get $at)) (v128.load offset=65584 (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 64)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $count)))))

  (func (export "add32") (param $count i32)
    (local $at i32)
    (loop $next
      (v128.store offset=0 (local.get $at)
        (i32x4.add (v128.load offset=0 (local.get $at)) (v128.load offset=65536 (local.get $at))))
      (v128.store offset=16 (local.get $at)
        (i32x4.add (v128.load offset=16 (local.get $at)) (v128.load offset=65552 (local.get $at))))
      (v128.store offset=32 (local.get $at)
        (i32x4.add (v128.load offset=32 (local.get $at)) (v128.load offset=65568 (local.get $at))))
      (v128.store offset=48 (local.get $at)
        (i32x4.add (v128.load offset=48 (local.get $at)) (v128.load offset=65584 (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 64)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $count)))))

  (func (export "subtract32") (param $count i32)
    (local $at i32)
    (loop $next
      (v128.store offset=0 (local.get $at)
        (i32x4.sub (v128.load offset=0 (local.get $at)) (v128.load offset=65536 (local.get $at))))
      (v128.store offset=16 (local.get $at)
        (i32x4.sub (v128.load offset=16 (local.get $at)) (v128.load offset=65552 (local.get $at))))
      (v128.store offset=32 (local.get $at)
        (i32x4.sub (v128.load offset=32 (local.get $at)) (v128.load offset=65568 (local.get $at))))
      (v128.store offset=48 (local.get $at)
        (i32x4.sub (v128.load offset=48 (local.get $at)) (v128.load offset=65584 (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 64)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $count))))))
