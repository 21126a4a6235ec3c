cat > tests/zz_img.ts <<X
import { Prng } from "../kernel/base/prng.ts";
import { runnerImage } from "./isa/runner_image.ts";
Deno.writeFileSync("/tmp/t/img.bin", runnerImage(Deno.readFileSync("guests/isa/runner/runner.bin"), new Prng($3), {privilege: $1 as 3, paging: "$2" as "bare", float:${4:-false}, slots: ${SLOTS:-300}, iterations: ${ITERS:-1}}));
X
deno run -A tests/zz_img.ts; timeout 10 qemu-system-riscv64 -M virt -cpu rv64,h=false,zbc=false,svinval=true -smp 2 -m 16M -bios /tmp/t/img.bin -display none -monitor none -serial null -d int -D /tmp/t/int.log
deno run -A tests/zz_traps.ts $1 $2 ${ITERS:-1} $3 ${SLOTS:-300} | sed -E 's/^. ([0-9a-f]+) .* cause ([0-9]+) tval ([0-9a-f]+)/\2 \1 \3/' > /tmp/t/ours.txt
sed -E 's/.*cause:0*([0-9a-f]+), epc:0x0*([0-9a-f]+), tval:0x0*([0-9a-f]*),.*/\1 \2 \3/' /tmp/t/int.log | while read c e t; do echo "$((16#$c)) $(printf %016x 0x$e) ${t:-0}"; done > /tmp/t/theirs.txt
diff /tmp/t/ours.txt /tmp/t/theirs.txt | head -${5:-20}
