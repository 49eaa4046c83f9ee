import torch, tftrace, small
torch.manual_seed(0)
m=small.Small().eval()
with torch.no_grad(): 
    m.blocks[1].down.weight[0,0]=float('nan')
    with tftrace.record(m, path="/tmp/former.tftrace", values="all", meta={"text":"a note"}) as t:
        m(torch.randn(2,3,8))
print(len(t), tftrace.__file__, t.meta.get("file"), t.steps["file"].to_pylist()[2])
