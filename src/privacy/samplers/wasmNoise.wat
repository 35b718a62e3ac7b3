;; The inner loops of bulk noise, on blocks of at most 16384 values in linear memory: 64 kB of words
;; a block, the most that the system's generator makes in one request, and 352 kB in all, which
;; stay in the second level of cache. What the numbers mean, and why the result is exact, is told
;; in tableGaussian.ts and bulkEncoding.ts. `npm run wasm` writes these instructions as bytes to
;; wasmNoiseBytes.ts. Constants are locals because the compiler would make them anew in every turn.
;;
;; Memory, in bytes:
;;            0  table   4096 x { threshold: u32, reach: u32 }, one entry a column
;;        32768  words   16384 x u32, uniform
;;        98304  noise   16384 x i32
;;       163840  values  16384 x f64
;;       294912  unsure  16384 x i32, positions
(module
  (memory (export "memory") 6 6)
  (global (export "blockValues") i32 (i32.const 16384))
  (global (export "tableAt") i32 (i32.const 0))
  (global (export "wordsAt") i32 (i32.const 32768))
  (global (export "noiseAt") i32 (i32.const 98304))
  (global (export "valuesAt") i32 (i32.const 163840))
  (global (export "unsureAt") i32 (i32.const 294912))

  ;; One sample for each of the first `count` words, rounded up to a multiple of 4. The top 12 bits
  ;; w >> 20 of a word are its column. With the column's entry, reach = width << 12 | alias:
  ;;   cell  = w < threshold ? column : alias
  ;;   noise = (cell << lowBits | w & (2^lowBits - 1)) - origin
  ;; and the sample is unsure where threshold <= w < threshold + width.
  ;; Returns how many are unsure; their positions, ascending, are in `unsure`.
  (func (export "sample") (param $count i32) (param $lowBits i32) (param $origin i32) (result i32)
    (local $at i32) (local $end i32) (local $unsureEnd i32) (local $lanes i32)
    (local $lowMask v128) (local $aliasMask v128) (local $origins v128)
    (local $word v128) (local $column v128) (local $entryAt v128)
    (local $entries01 v128) (local $entries23 v128)
    (local $threshold v128) (local $reach v128) (local $cell v128) (local $isUnsure v128)
    (local.set $lowMask (i32x4.splat (i32.sub (i32.shl (i32.const 1) (local.get $lowBits)) (i32.const 1))))
    (local.set $aliasMask (v128.const i32x4 4095 4095 4095 4095))
    (local.set $origins (i32x4.splat (local.get $origin)))
    (local.set $end (i32.shl (local.get $count) (i32.const 2)))
    (loop $four
      (local.set $word (v128.load offset=32768 (local.get $at)))
      (local.set $column (i32x4.shr_u (local.get $word) (i32.const 20)))
      (local.set $entryAt (i32x4.shl (local.get $column) (i32.const 3)))
      ;; Gather the four entries, then part thresholds from reaches.
      (local.set $entries01
        (v128.load64_lane 1 (i32x4.extract_lane 1 (local.get $entryAt))
          (v128.load64_zero (i32x4.extract_lane 0 (local.get $entryAt)))))
      (local.set $entries23
        (v128.load64_lane 1 (i32x4.extract_lane 3 (local.get $entryAt))
          (v128.load64_zero (i32x4.extract_lane 2 (local.get $entryAt)))))
      (local.set $threshold
        (i8x16.shuffle 0 1 2 3 8 9 10 11 16 17 18 19 24 25 26 27
          (local.get $entries01) (local.get $entries23)))
      (local.set $reach
        (i8x16.shuffle 4 5 6 7 12 13 14 15 20 21 22 23 28 29 30 31
          (local.get $entries01) (local.get $entries23)))
      (local.set $cell
        (v128.bitselect
          (local.get $column)
          (v128.and (local.get $reach) (local.get $aliasMask))
          (i32x4.lt_u (local.get $word) (local.get $threshold))))
      (v128.store offset=98304 (local.get $at)
        (i32x4.sub
          (v128.or
            (i32x4.shl (local.get $cell) (local.get $lowBits))
            (v128.and (local.get $word) (local.get $lowMask)))
          (local.get $origins)))
      ;; Below the threshold the difference wraps around, beyond any width.
      (local.set $isUnsure
        (i32x4.lt_u
          (i32x4.sub (local.get $word) (local.get $threshold))
          (i32x4.shr_u (local.get $reach) (i32.const 12))))
      (if (v128.any_true (local.get $isUnsure))
        (then
          (local.set $lanes (i32x4.bitmask (local.get $isUnsure)))
          (loop $lane
            (i32.store offset=294912 (local.get $unsureEnd)
              (i32.add
                (i32.shr_u (local.get $at) (i32.const 2))
                (i32.ctz (local.get $lanes))))
            (local.set $unsureEnd (i32.add (local.get $unsureEnd) (i32.const 4)))
            (local.set $lanes (i32.and (local.get $lanes) (i32.sub (local.get $lanes) (i32.const 1))))
            (br_if $lane (local.get $lanes)))))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (br_if $four (i32.lt_u (local.get $at) (local.get $end))))
    (i32.shr_u (local.get $unsureEnd) (i32.const 2)))

  ;; noise[i] = (clamp(round(values[i] scale), -bound, bound) + noise[i]) & mask, for the first `count`,
  ;; rounded up to a multiple of 4. Returns 1 when every one of these values is finite, 0 when not.
  ;;
  ;; Rounding is to nearest with halves upwards, as Math.round does it: floor(v) + (v - floor(v) >= 1/2),
  ;; every operation exact. `bound` is an integer below 2^31, so it is all one whether the clamping comes
  ;; before or after. An integer of that size plus 1.5 2^52 has it, in two's complement, as its low 32 bits.
  (func (export "encode") (param $count i32) (param $scale f64) (param $bound f64) (param $mask i32) (result i32)
    (local $noiseAt i32) (local $valuesAt i32) (local $end i32)
    (local $scales v128) (local $most v128) (local $least v128) (local $masks v128)
    (local $low v128) (local $high v128) (local $notFinite v128) (local $lowFloor v128) (local $highFloor v128)
    (local $half v128) (local $one v128) (local $shift v128)
    (local.set $half (v128.const f64x2 0.5 0.5))
    (local.set $one (v128.const f64x2 1 1))
    (local.set $shift (v128.const f64x2 6755399441055744 6755399441055744))
    (local.set $scales (f64x2.splat (local.get $scale)))
    (local.set $most (f64x2.splat (local.get $bound)))
    (local.set $least (f64x2.neg (local.get $most)))
    (local.set $masks (i32x4.splat (local.get $mask)))
    (local.set $end (i32.shl (local.get $count) (i32.const 2)))
    (loop $four
      (local.set $low (v128.load offset=163840 (local.get $valuesAt)))
      (local.set $high (v128.load offset=163856 (local.get $valuesAt)))
      ;; v - v is +0, no bit set, for every finite v, and NaN for the others.
      (local.set $notFinite
        (v128.or (local.get $notFinite)
          (v128.or
            (f64x2.sub (local.get $low) (local.get $low))
            (f64x2.sub (local.get $high) (local.get $high)))))
      (local.set $low
        (f64x2.pmax (f64x2.pmin (f64x2.mul (local.get $low) (local.get $scales)) (local.get $most)) (local.get $least)))
      (local.set $high
        (f64x2.pmax (f64x2.pmin (f64x2.mul (local.get $high) (local.get $scales)) (local.get $most)) (local.get $least)))
      (local.set $lowFloor (f64x2.floor (local.get $low)))
      (local.set $highFloor (f64x2.floor (local.get $high)))
      (v128.store offset=98304 (local.get $noiseAt)
        (v128.and (local.get $masks)
          (i32x4.add
            (v128.load offset=98304 (local.get $noiseAt))
            (i8x16.shuffle 0 1 2 3 8 9 10 11 16 17 18 19 24 25 26 27
              (f64x2.add
                (f64x2.add (local.get $lowFloor) (local.get $shift))
                (v128.and
                  (f64x2.ge (f64x2.sub (local.get $low) (local.get $lowFloor)) (local.get $half))
                  (local.get $one)))
              (f64x2.add
                (f64x2.add (local.get $highFloor) (local.get $shift))
                (v128.and
                  (f64x2.ge (f64x2.sub (local.get $high) (local.get $highFloor)) (local.get $half))
                  (local.get $one)))))))
      (local.set $valuesAt (i32.add (local.get $valuesAt) (i32.const 32)))
      (local.set $noiseAt (i32.add (local.get $noiseAt) (i32.const 16)))
      (br_if $four (i32.lt_u (local.get $noiseAt) (local.get $end))))
    (i32.eqz (v128.any_true (local.get $notFinite))))

  ;; values[i] = noise[i] unit, for the first `count`, rounded up to a multiple of 4.
  (func (export "decode") (param $count i32) (param $unit f64)
    (local $noiseAt i32) (local $valuesAt i32) (local $end i32) (local $units v128) (local $four v128)
    (local.set $units (f64x2.splat (local.get $unit)))
    (local.set $end (i32.shl (local.get $count) (i32.const 2)))
    (loop $next
      (local.set $four (v128.load offset=98304 (local.get $noiseAt)))
      (v128.store offset=163840 (local.get $valuesAt)
        (f64x2.mul (local.get $units) (f64x2.convert_low_i32x4_s (local.get $four))))
      (v128.store offset=163856 (local.get $valuesAt)
        (f64x2.mul (local.get $units)
          (f64x2.convert_low_i32x4_s
            (i8x16.shuffle 8 9 10 11 12 13 14 15 8 9 10 11 12 13 14 15 (local.get $four) (local.get $four)))))
      (local.set $valuesAt (i32.add (local.get $valuesAt) (i32.const 32)))
      (local.set $noiseAt (i32.add (local.get $noiseAt) (i32.const 16)))
      (br_if $next (i32.lt_u (local.get $noiseAt) (local.get $end))))))
