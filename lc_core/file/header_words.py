"""Text that the JSON of packed files has in common, for compression to refer to. Part of format 2: it never changes."""

WORDS = (
    b'{"form":"cp","shape":[,"factors":[{"form":"tucker","shape":[,"core":{"form":"circulant","block":,"vectors":{'
    b'{"form":"sum","shape":[,"terms":[{"form":"groups","shape":[,"count":,"parts":[{"shape":[,"axis":0,"first":0,'
    b'"values":{"form":"cast","shape":[,"stored":"float16","dtype":"float32"}'
    b'{"form":"uniform","shape":[,"bits":4,"symmetric":true},"scheme":"spatial","pattern":[2,4]}'
    b'{"form":"factors","shape":[,"left":{"form":"dense","shape":[,"right":{"form":"dense","shape":['
    b'"BF16","F16","U8","I8","F64","tied":{"head.weight":"embed.weight"},"sweep","study":","study_hash":","job":",'
    b'"family":"prune, quantize","configuration":{"keep":0.0,"size":8,"rank":,"bits":},"input_shape":[1,3,32,32],'
    b'"val":{"accuracy":0.9,"n":5000}}'
    b',{"names":["layer1.0.conv1.weight"],"shapes":[[16,16,3,3]],"theta":{"form":"codebook","shape":[16,16,3,3]}}'
    b',"layer2.0.bn1.num_batches_tracked":["I64",[]],"layer2.0.bn1.running_mean":["F32",[64]]'
    b',"layer2.0.bn1.running_var":["F32",[64]],"layer3.1.bn2.weight":["F32",[128]],"features.0.bias":["F32",[32]]'
    b'{"tasks":[{"names":["0.weight","2.weight","fc1.weight","conv2.weight"],"shapes":[[300,100],[10,100]],'
    b'"theta":{"form":"sparse","shape":[1000],"count":1000,"values":{"form":"codebook","shape":[1000]}}}],'
    b'"arrays":{"0:scale":["F32",[1]],"0:values.codebook":["F32",[8]],"1:codebook":["F32",[4]],"bias":["F32",[10]],'
    b'"0.bias":["F32",[300]],"2.bias":["F32",[100]],"fc.bias":["F32",[10]]},"info":{}}'
)

MORE_WORDS = WORDS + (
    b'{"names":["features.0.weight"],"shapes":[[64,3,5,5]],"theta":{"form":"cast","shape":[64,3,5,5],"stored":"float16"'
    b',"dtype":"float32"}},"8.bias","6.bias","9.bias","7.bias","3.bias","8.weight","6.weight","9.weight","7.weight"'
    b'{"tasks":[{"names":["0.weight","2.weight","3.weight","4.weight"],"shapes":[[128,64],[64,128],[10,64]],"theta":'
    b'{"form":"sparse","shape":[17000],"count":1700,"values":{"form":"codebook","shape":[1700]}}},{"names":["0.bias",'
    b'"2.bias","4.bias"],"shapes":[[128],[64],[10]],"theta":{"form":"uniform","shape":[202],"bits":5,"symmetric":'
    b'false}}],"arrays":{"0:values.codebook":["F32",[4]],"1:scale":["F32",[1]],"1:zero":["U8",[1]]},"info":{}}'
)
"""What deflate refers to. The most usual text stands last, where it is nearest."""
