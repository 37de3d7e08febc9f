/**
 * General categories of Unicode 14.0 below U+32000, as run lengths. They were written out once from the
 * Unicode Character Database 14.0.0 (DerivedGeneralCategory), the version that the reference's published numbers were
 * made with, so that ids depend neither on Node's own ICU version nor on code points assigned later.
 *
 * Form: white-space separated runs `gap` or `gap-extra`, in base 36: skip `gap` code points after the last run,
 * then take `1 + extra`.
 */

/** Every category beginning with C: Cc, Cf, Cs, Co and Cn (unassigned in 14.0). */
export const CONTROL_RUNS = `
0-v 2n-w d ju-1 6-3 7 1 k b1 12-1 1e-1 3 1j-7 r-3 6-g m 5c 1c-1 1n-1 2t-d 1n-1 1d-1 f s-1 1 b-4 v-8 22 4h
8-1 2-1 m 7 1-2 4-1 9-1 2-1 4-7 1-3 2 5-1 p-1 3 6-3 2-1 m 7 2 2 2-1 1 5-3 2-1 3-2 1-6 4 1-6 h-9 3 9 3 m 7 2
5-1 a 3 3-1 1-e 4-1 c-6 7 3 8-1 2-1 m 7 2 5-1 9-1 2-1 3-6 3-3 2 5-1 i-9 2 6-2 3 4-2 2 1 2-2 2-2 3-2 c-3 5-2
3 4-1 1-5 1-d l-4 d 3 n g-1 9 3 4-6 2 3-1 1-1 4-1 a-6 m 3 n a 5-1 9 3 4-6 2-5 2 4-1 a 2-c d 3 1f 3 6-3 g-1 q
3 i-2 o 9 1-1 7-2 1-3 6 1 8-5 a-1 3-b 1m-3 t-10 2 1 5 o 1 n-1 5 1 6-1 a-1 4-v 20 10-3 13 10 f d-10 5i 1-4
1-1 ah 4-1 7 1 4-1 15 4-1 x 4-1 7 1 4-1 f 1l 4-1 1v-1 w-2 q-5 2e-1 6-1 il-2 2h-6 m-8 o-8 k-b d 3 2-b 2m-1
a-5 a-5 e b-5 2h-6 17-4 1y-9 v c-3 c-3 1-2 16-1 5-a 18-3 q-5 b-2 1q-1 1t t-1 b-5 a-5 e-1 v-1c 25-2 1b 38-7
1o-2 f-2 1o-6 17-1 b-7 17-4 eu-1 6-1 12-1 6-1 8 1 1 1 v-1 1h f e-1 6 j-1 3 9 b-4 q-4 1d-f 2-1 r d-2 x-e x-e
3w-3 if-o b-k 1ec-1 w 9p-4 19 1-4 1-1 1k-6 2-d o-8 7 7 7 7 7 7 7 7 3i-x q 2h-b 5y-p c-3 1s 2e-1 2v-4 17 2m
2c-b 1b mlp-2 1j-8 9o-j 54-7 5n-4 2 1 5-n 1n-2 a-5 1k-7 1y-7 c-5 38-a u-2 26 b-3 x 1j-8 e-1 a-1 2v-n s-9 6-1
6-1 6-8 7 7 1o-3 3i-1 a-5 8mc-b n-3 1d-6ir a6-1 2y-11 7-b 5-4 q 5 1 2 2 3h-f cd-1 1i-6 1-v 16-5 1f j 4-3 5
3r-3 5a-2 6-1 6-1 6-1 3-2 7 7-c 2-1 c q j 2 f-1 e-x 3f-4 3-3 19-2 2g d-2 1-1a 1a-3l t-2 1d-e s-3 10-8 u-4
17-4 u 11-3 e-15 4e-1 a-5 10-3 10-3 14-7 1g-a c f 7 2 b f 7 2-1u 8n-8 m-9 8-n 6 16 9-1w 6-1 1 18 2-2 1-1 n
20-7 9-1b j 2-4 x-2 r-4 1-1r 1k-3 k-1 1e 2-4 8 3 t-1 3-3 a-6 9-6 1s-v 13-3 c-8 1i-2 t-1 r-4 q-6 4-b 7-27
21-1i 1f-c 1f-6 1a-7 a-85 v 16 3-1 2-25 14-7 16-l q-11 s-j n-8 26-3 10-8 1q 5-c p-6 a-5 1h i-7 13-8 2o k-a i
18-1s 7 1 4 f b-5 1n-4 a-5 4 8-1 2-1 m 7 2 5 a-1 2-1 3-1 1-5 1-4 7-1 7-2 5-3u 2k 5-t 20-7 a-4l 1i-1 12-x
1x-a a-5 d-i 1m-5 a-1h r-1 f-3 n-54 1o-2r 2b-b 8-1 1-1 8 2 u 2-1 c-8 a-1x 8-1 1a-1 b-q 20-7 2b-c 21-7a 9 19
e-9 t-2 w-1 m e-20 7 2 18-2 1 2 9-7 a-5 6 2 11 2 6-6 a-8l p-52 1-e 1e-c pn-2t 33 5-a 5g-217 2r-c tr-34g
g7-6ns ft-6 v a-3 29 a-5 u-1 6-9 1y-9 a 7 l-4 j-j3 2j-2s 23-3 1l-6 h-1r 5-a 2-d 4qg-7 ye-15 9-6w6 4 7 2
83-18 3-g 4-7 b0-1s3 2z-4 d-2 9-6 a-1 4-3mn 1a-1 n-8 38-1n 6u-9 13-1 22-7 34-k 1y-49 k-b 2f-8 p-3q 2d 1z 2-1
1-1 2-1 4 c 1 7 1t 4-1 8 7 s 4 5 1-2 7 9g-1 84-1 ji-e 5 f-un v-68 7 h-1 7 2 5-5w 19-2 e-1 a-3 2-8v v-g 1m-4
1-yn 7 4 2 f 5h-1 g-14 24-3 a-3 2-ls 1w-23 1p-5d 4 r 2 1-1 1 a 4 1 1-5 1-3 1 1 1 3 2 1-1 1 1 1 1 1 2 1-1 4 7
4 4 1 a h-4 3 5 h-1f 2-7h 18-3 2s-b f-1 f f 11-9 4u-1j t-c 18-3 9-6 2-d 6-49 rc-4 g-2 d-2 38-b 2h-6 c-3 1-e
c-3 1k-7 a-5 14-7 u-1 2-25 9g-b e-1 5-2 5-2 7-8 t-2 b-4 6-9 a-5 8-7 7-8 43 1j-10 a-sl wyo-v 37d-6 66-1 4g2-d
5rl-2e6 f2-15t 3t7-2ic
`;

/** Every category beginning with P. */
export const PUNCTUATION_RUNS = `
x-2 1-5 1-3 a-1 3-1 q-2 1 r 1 z 5 3 a-1 3 3 ji 8 cy-5 15-1 1f 1 2 2 18-1 k-1 1-1 d 1-2 22-3 2u 17-d 6h-2
1i-e v 79-1 a 3w 3c 3d au c a7 2i a-1 4o-e 1 11-3 1z 22-4 4-1 33-5 4r h0-8 47 h9 18-1 26-2 1z-1 4d-2 1-2
11-a 8p-1 60-1 3k-6 1-5 4s-6 s-1 3h-3 1n-4 1q-1 1s-7 b n0-n 8-j 1-c 1-b u-1 e-1 hl-3 t-1 u5-d 27-1 v-9 b7-l
1r-3 w-1 l7-3 1-1 34 3z-1a 1-v 2-b bn-2 4-9 2-b g c 2q 2i mwy-1 7h-2 2r a 37-5 ak-3 2e-1 14-2 1 1d-1 1b 2p-c
g-1 3g-3 3i-1 g-1 6x g2a-1 5s-9 m-y 1-d 1 4 1-1 45-2 1-5 1-3 a-1 3-1 q-2 1 r 1 1-6 be-2 ik 1c bi kn 5j v
7k-8 12 34-6 1u-6 2h-3 ls 4n-4 18-3 59-6 31-1 1-3 3i-3 1c-1 27-3 4 d 1-2 2g-5 2z bl-4 a-1 1 2w 6y-m 2x-2 s-c
24 3m-2 70 7c-2 4b 2k-7 2b-2 1-4 bi-4 16-1 hx-1 7a vk-4 29o-1 bjv-1 3p 1t-4 8 nm-3 93 f5o 5wn-4 2xe-1
`;

/** Category Mn. */
export const NONSPACING_MARK_RUNS = `
lc-33 7n-4 7d-18 1 1-1 1-1 1 20-a 1c-k g 2t-6 2-5 2-1 1-3 z u-q 2j-a 1m-8 9 o-3 1-8 1-2 1-4 17-2 1o-7 16-n
1-v 1j 1 4-7 4 3-6 a-1 t 1m 4-3 8 k-1 q 2-1 1l 4-1 4-1 2-2 3 u-1 3 b-1 1l 4-4 1-1 4 k-1 m-5 1 1m 2 1-3 8 7-1
b-1 u 1p c 1e 3 1j 1-2 5-2 1-3 7-1 b-1 t 1m 2 6 5-1 k-1 s-1 1l-1 4-3 8 k-1 t 20 7-2 1 2i 2-6 c-7 2q 2-8 b-5
22-1 r 1 1 1j-d 1-4 1-1 5-a 1-z 9 2u-3 1-5 1-1 2-1 p-1 4-2 g-3 d 2-1 6 f jj-2 qa-2 t-1 u-1 u-1 1s-1 1-6 8
2-a 9 19-2 1 39-1 y 3a-2 4-1 9 6-2 63-1 2 1m 1-6 1 1 2-7 6-9 2 1c-d 1-f 1d-3 1c 1-4 1 5 14-8 c-1 w-3 2-1 1-2
1k 1-1 3 1-2 1m-7 2-1 48-2 1-c 1-6 4 6 3-1 5i-1r k0-c 4 3-b 2da-2 3x 2o-v fe-3 2z-1 n9w 4-9 w-1 28-1 7k 3 4
p-1 5 47-1 q-h d 12-7 p-a 1a-2 1c 2-3 2-1 13 1v-5 2-1 2-1 c 8 1b 1f 1-2 2-1 5-1 1 16-1 8 6m 2 4 fn4 kh-f g-f
r1 6a 45-4 1ae-2 1-1 5-3 14-2 4 4l-1 fx-3 ar-1 49-a 1d-3 3f 1i-e 15 2-1 a-2 1d-3 2-1 7 1p-2 10-4 1-7 1q c-1
1g-8 a-3 2 2n-2 2 1-1 6 4g 3-7 l-1 1l-1 3 11-6 3-4 5f-7 2-2 1 n 2c-5 1 4-1 1-1 6m-3 6-1 1-1 r-1 2d-7 2 1-1
2y 1 2-5 1 2t-2 2-3 1-4 77-8 1-1 74-1 1 4 40-3 2-1 4 w-9 14-5 2-3 8 9-5 2-2 1a-c 1-1 ba-6 1-5 1 2a-l 2-6 1-1
1-1 3e-5 3 1-1 1-6 1 20-1 3 1 9n-1 f0b-4 1n-6 t4 1r-3 29 f5k-1 3mp-19 2-m f4-2 h-7 2-6 u-3 44-2 1iz-1i 4-1d
8 e m-4 1-e 11s-6 1-g 2-6 1-1 1-4 79-6 af 1p-3 15s-6 31-6
`;

/** Category Zs. */
export const SPACE_SEPARATOR_RUNS = `
w 3j 4bj 1vj-a 10 1b 334
`;
