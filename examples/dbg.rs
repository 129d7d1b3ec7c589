use bitmar::{config::Config, train::{trainer::*, captions::*, batch::*}};
use candle_core::{Tensor, Device};
fn cosm(t: &Tensor) -> f32 { let v = t.to_vec2::<f32>().unwrap(); let n = v.len(); let u: Vec<Vec<f32>> = v.iter().map(|r| { let l = r.iter().map(|x| x*x).sum::<f32>().sqrt(); r.iter().map(|x| x/l).collect() }).collect(); let mut s = 0.0; let mut c = 0.0; for i in 0..n { for j in 0..i { s += u[i].iter().zip(&u[j]).map(|(a,b)| a*b).sum::<f32>(); c += 1.0; } } s/c }
fn main() -> Result<(), Box<dyn std::error::Error>> {
    std::env::set_var("RAYON_NUM_THREADS", "1");
    let config = Config::small();
    let a: Vec<String> = std::env::args().collect();
    let run = if a.len() > 1 { Run::resume(std::path::Path::new(&a[1]))? } else { Run::new(&config, RunOptions { steps: 1, photos_per_shard: 8, shards: 2, learning_rate: 1e-3, seed: 1 })? };
    let bytes = std::fs::read("/work/main/runs/flickr8k-Train-original.bin")?;
    let n = 49*192; let k = 16;
    let f: Vec<f32> = bytes[..n*k].iter().map(|&b| b as i8 as f32 * 0.298).collect();
    let f = Tensor::from_vec(f, (49*k, 192), &Device::Cpu)?;
    let m = &run.trained.model; let table = m.table()?;
    let ph = m.vision().forward(&f)?;
    println!("cls {:.3} patches mean {:.3} rows0 {:.3}", cosm(&ph.pooled), cosm(&ph.patches.reshape((k,49,256))?.mean(1)?), cosm(&ph.rows.narrow(0,0,49*k)?.reshape((k,49,256))?.mean(1)?));
    let fu = m.fuse_photos(&table, &ph, &vec![Vec::new(); k])?;
    println!("fused pooled {:.3} query {:.3}", cosm(&fu.rows.reshape((k,16,256))?.mean(1)?), cosm(&fu.query));
    let caps: Vec<Vec<u32>> = (0..k as u32).map(|i| (0..10).map(|j| 100 + (i*37 + j*91) % 3000).collect()).collect();
    let refs: Vec<&[u32]> = caps.iter().map(|c| c.as_slice()).collect();
    let cv = m.caption_vectors(&m.encode_texts(&table, &refs)?)?; println!("caption vectors {:.3}", cosm(&cv));
    // gradient of a random projection of the query
    let mut r = bitmar::random::Random::new(3);
    let w: Vec<f32> = (0..k*128).map(|_| r.normal()).collect(); let w = Tensor::from_vec(w, (k,128), &Device::Cpu)?;
    let loss = (fu.query * w)?.sum_all()?; let g = loss.backward()?;
    for (name, v) in &run.variables { if let Some(x) = g.get(v) { let gn = x.sqr()?.sum_all()?.to_scalar::<f32>()?.sqrt(); let vn = v.sqr()?.mean_all()?.to_scalar::<f32>()?.sqrt(); println!("{name} grad {gn:.4} rms {vn:.4}"); } }
    Ok(())
}
