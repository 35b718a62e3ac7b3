;; Polynomials over GF(2^8), sixteen side by side, at one public point by Horner's rule: gf256.ts tells what for.
;; A product with the point is two lookups in tables of the point's sixteen low and high products. The lookups
;; are permutations of a register (PSHUFB, TBL): secret bytes address no memory. `npm run wasm` writes these
;; instructions as bytes to gf256EvaluationBytes.ts.
;;
;; Memory, in bytes:
;;            0  products      32, of the point with 0 to 15 and with 0, 16, .. 240
;;           64  value         up to 128
;;          256  coefficients  255 rows of up to 128, lowest degree first
(module
  (memory (export "memory") 1 1)
  (global (export "productsAt") i32 (i32.const 0))
  (global (export "valueAt") i32 (i32.const 64))
  (global (export "coefficientsAt") i32 (i32.const 256))

  ;; @param rows  degree + 1
  ;; @param width bytes of a row, a multiple of 16
  (func (export "evaluate") (param $rows i32) (param $width i32)
    (local $low v128) (local $high v128) (local $nibbles v128) (local $value v128)
    (local $at i32) (local $column i32) (local $first i32)
    (local.set $low (v128.load (i32.const 0)))
    (local.set $high (v128.load (i32.const 16)))
    (local.set $nibbles (i8x16.splat (i32.const 15)))
    (loop $columns
      (local.set $value (v128.const i64x2 0 0))
      (local.set $first (i32.add (i32.const 256) (local.get $column)))
      (local.set $at (i32.add (local.get $first) (i32.mul (local.get $rows) (local.get $width))))
      (loop $degrees
        (local.set $at (i32.sub (local.get $at) (local.get $width)))
        (local.set $value
          (v128.xor
            (v128.xor
              (i8x16.swizzle (local.get $low) (v128.and (local.get $value) (local.get $nibbles)))
              (i8x16.swizzle (local.get $high) (i8x16.shr_u (local.get $value) (i32.const 4))))
            (v128.load (local.get $at))))
        (br_if $degrees (i32.gt_u (local.get $at) (local.get $first))))
      (v128.store offset=64 (local.get $column) (local.get $value))
      (local.set $column (i32.add (local.get $column) (i32.const 16)))
      (br_if $columns (i32.lt_u (local.get $column) (local.get $width))))))
