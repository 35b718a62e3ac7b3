;; The sums of ringProjection.ts for values of 16 bits, mod 2^16: 512 groups of eight coordinates at a time.
;; Four coordinates have sixteen subset sums, whose low and high bytes are two registers; a byte of keystream
;; looks up two such subsets, for sixteen projections at once. `npm run wasm` writes these instructions as bytes
;; to ringProjectionSumsBytes.ts.
;;
;; Memory, in bytes:
;;            0  values   4096 x u16
;;         8192  low      128 x u16, sums of low bytes
;;         8448  high     128 x u8, sums of high bytes
;;        16384  subsets  512 x { low, high of four coordinates; low, high of the next four }, 16 bytes each
;;        65536  stream   512 x 128
(module
  (memory (export "memory") 2 2)
  (global (export "blockGroups") i32 (i32.const 512))
  (global (export "valuesAt") i32 (i32.const 0))
  (global (export "lowAt") i32 (i32.const 8192))
  (global (export "highAt") i32 (i32.const 8448))
  (global (export "streamAt") i32 (i32.const 65536))

  ;; Bytes of the subset sums of the four values at $values, to $to.
  (func $subsets (param $values i32) (param $to i32)
    (local $first v128) (local $second v128) (local $bytes v128)
    (local.set $bytes (i16x8.splat (i32.const 255)))
    ;; Entry e sums the values of its bits: 0 to 7 have no fourth value, 8 to 15 have it.
    (local.set $first
      (i16x8.add
        (i16x8.add
          (v128.and (v128.load16_splat (local.get $values)) (v128.const i16x8 0 -1 0 -1 0 -1 0 -1))
          (v128.and (v128.load16_splat offset=2 (local.get $values)) (v128.const i16x8 0 0 -1 -1 0 0 -1 -1)))
        (v128.and (v128.load16_splat offset=4 (local.get $values)) (v128.const i16x8 0 0 0 0 -1 -1 -1 -1))))
    (local.set $second (i16x8.add (local.get $first) (v128.load16_splat offset=6 (local.get $values))))
    (v128.store (local.get $to)
      (i8x16.narrow_i16x8_u
        (v128.and (local.get $first) (local.get $bytes))
        (v128.and (local.get $second) (local.get $bytes))))
    (v128.store offset=16 (local.get $to)
      (i8x16.narrow_i16x8_u
        (i16x8.shr_u (local.get $first) (i32.const 8))
        (i16x8.shr_u (local.get $second) (i32.const 8)))))

  ;; Adds what the first `groups` groups give to all sums.
  (func (export "project") (param $groups i32)
    (local $i i32) (local $end i32) (local $projections i32) (local $stream i32) (local $table i32)
    (local $low v128) (local $lowAfter v128) (local $high v128) (local $nibbles v128)
    (local $key v128) (local $one v128) (local $other v128)
    (loop $tables
      (call $subsets
        (i32.shl (local.get $i) (i32.const 3))
        (i32.add (i32.const 16384) (i32.shl (local.get $i) (i32.const 5))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $tables (i32.lt_u (local.get $i) (i32.shl (local.get $groups) (i32.const 1)))))
    (local.set $nibbles (i8x16.splat (i32.const 15)))
    (local.set $end (i32.add (i32.const 16384) (i32.shl (local.get $groups) (i32.const 6))))
    ;; Sixteen projections after sixteen.
    (loop $sixteen
      (local.set $low (v128.load offset=8192 (i32.shl (local.get $projections) (i32.const 1))))
      (local.set $lowAfter (v128.load offset=8208 (i32.shl (local.get $projections) (i32.const 1))))
      (local.set $high (v128.load offset=8448 (local.get $projections)))
      (local.set $stream (i32.add (i32.const 65536) (local.get $projections)))
      (local.set $table (i32.const 16384))
      (loop $next
        (local.set $key (v128.load (local.get $stream)))
        (local.set $one (v128.and (local.get $key) (local.get $nibbles)))
        (local.set $other (i8x16.shr_u (local.get $key) (i32.const 4)))
        (local.set $high
          (i8x16.add
            (i8x16.add
              (local.get $high)
              (i8x16.swizzle (v128.load offset=16 (local.get $table)) (local.get $one)))
            (i8x16.swizzle (v128.load offset=48 (local.get $table)) (local.get $other))))
        (local.set $one (i8x16.swizzle (v128.load (local.get $table)) (local.get $one)))
        (local.set $other (i8x16.swizzle (v128.load offset=32 (local.get $table)) (local.get $other)))
        (local.set $low
          (i16x8.add
            (i16x8.add (local.get $low) (i16x8.extend_low_i8x16_u (local.get $one)))
            (i16x8.extend_low_i8x16_u (local.get $other))))
        (local.set $lowAfter
          (i16x8.add
            (i16x8.add (local.get $lowAfter) (i16x8.extend_high_i8x16_u (local.get $one)))
            (i16x8.extend_high_i8x16_u (local.get $other))))
        (local.set $stream (i32.add (local.get $stream) (i32.const 128)))
        (local.set $table (i32.add (local.get $table) (i32.const 64)))
        (br_if $next (i32.lt_u (local.get $table) (local.get $end))))
      (v128.store offset=8192 (i32.shl (local.get $projections) (i32.const 1)) (local.get $low))
      (v128.store offset=8208 (i32.shl (local.get $projections) (i32.const 1)) (local.get $lowAfter))
      (v128.store offset=8448 (local.get $projections) (local.get $high))
      (local.set $projections (i32.add (local.get $projections) (i32.const 16)))
      (br_if $sixteen (i32.lt_u (local.get $projections) (i32.const 128))))))
