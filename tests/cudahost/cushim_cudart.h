/*
 * cushim_cudart: the part of the CUDA runtime that the program uses, for the host. Each function
 * has a name of its own (cushim_cudaMalloc ...) and a macro with the usual name. So one program can
 * link this runtime and the real one. Semantics: CUDA Runtime API reference; differences:
 * README.md.
 */
#ifndef CUSHIM_CUDART_H
#define CUSHIM_CUDART_H

#include <driver_types.h>
#include <vector_types.h>

#define cudaGetLastError cushim_cudaGetLastError
#define cudaPeekAtLastError cushim_cudaPeekAtLastError
#define cudaGetErrorName cushim_cudaGetErrorName
#define cudaGetErrorString cushim_cudaGetErrorString
#define cudaDriverGetVersion cushim_cudaDriverGetVersion
#define cudaRuntimeGetVersion cushim_cudaRuntimeGetVersion
#define cudaGetDeviceCount cushim_cudaGetDeviceCount
#define cudaGetDevice cushim_cudaGetDevice
#define cudaSetDevice cushim_cudaSetDevice
#define cudaInitDevice cushim_cudaInitDevice
#define cudaDeviceCanAccessPeer cushim_cudaDeviceCanAccessPeer
#define cudaDeviceEnablePeerAccess cushim_cudaDeviceEnablePeerAccess
#define cudaDeviceDisablePeerAccess cushim_cudaDeviceDisablePeerAccess
#undef cudaGetDeviceProperties
#define cudaGetDeviceProperties cushim_cudaGetDeviceProperties
#define cudaDeviceGetPCIBusId cushim_cudaDeviceGetPCIBusId
#define cudaDeviceGetAttribute cushim_cudaDeviceGetAttribute
#define cudaDeviceSynchronize cushim_cudaDeviceSynchronize
#define cudaDeviceReset cushim_cudaDeviceReset
#define cudaMemGetInfo cushim_cudaMemGetInfo
#define cudaMalloc cushim_cudaMalloc
#define cudaFree cushim_cudaFree
#define cudaMallocHost cushim_cudaMallocHost
#define cudaHostAlloc cushim_cudaHostAlloc
#define cudaFreeHost cushim_cudaFreeHost
#define cudaHostRegister cushim_cudaHostRegister
#define cudaHostUnregister cushim_cudaHostUnregister
#define cudaPointerGetAttributes cushim_cudaPointerGetAttributes
#define cudaMemcpy cushim_cudaMemcpy
#define cudaMemcpyAsync cushim_cudaMemcpyAsync
#define cudaMemcpyPeerAsync cushim_cudaMemcpyPeerAsync
#define cudaMemset cushim_cudaMemset
#define cudaMemsetAsync cushim_cudaMemsetAsync
#define cudaStreamCreate cushim_cudaStreamCreate
#define cudaStreamCreateWithFlags cushim_cudaStreamCreateWithFlags
#define cudaStreamCreateWithPriority cushim_cudaStreamCreateWithPriority
#define cudaDeviceGetStreamPriorityRange cushim_cudaDeviceGetStreamPriorityRange
#define cudaStreamDestroy cushim_cudaStreamDestroy
#define cudaStreamSynchronize cushim_cudaStreamSynchronize
#define cudaStreamQuery cushim_cudaStreamQuery
#define cudaStreamWaitEvent cushim_cudaStreamWaitEvent
#define cudaLaunchHostFunc cushim_cudaLaunchHostFunc
#define cudaEventCreate cushim_cudaEventCreate
#define cudaEventCreateWithFlags cushim_cudaEventCreateWithFlags
#define cudaEventDestroy cushim_cudaEventDestroy
#define cudaEventRecord cushim_cudaEventRecord
#define cudaEventRecordWithFlags cushim_cudaEventRecordWithFlags
#define cudaEventSynchronize cushim_cudaEventSynchronize
#define cudaEventQuery cushim_cudaEventQuery
#define cudaEventElapsedTime cushim_cudaEventElapsedTime
#define cudaStreamBeginCapture cushim_cudaStreamBeginCapture
#define cudaStreamEndCapture cushim_cudaStreamEndCapture
#define cudaStreamIsCapturing cushim_cudaStreamIsCapturing
#define cudaGraphInstantiate cushim_cudaGraphInstantiate
#define cudaGraphLaunch cushim_cudaGraphLaunch
#define cudaGraphUpload cushim_cudaGraphUpload
#define cudaGraphExecUpdate cushim_cudaGraphExecUpdate
#define cudaGraphGetNodes cushim_cudaGraphGetNodes
#define cudaGraphDestroy cushim_cudaGraphDestroy
#define cudaGraphExecDestroy cushim_cudaGraphExecDestroy
#define cudaFuncSetAttribute cushim_cudaFuncSetAttribute
#define cudaFuncGetAttributes cushim_cudaFuncGetAttributes
#define cudaOccupancyMaxActiveBlocksPerMultiprocessor                                              \
    cushim_cudaOccupancyMaxActiveBlocksPerMultiprocessor

extern "C" {
cudaError_t cudaGetLastError(void);
cudaError_t cudaPeekAtLastError(void);
const char *cudaGetErrorName(cudaError_t e);
const char *cudaGetErrorString(cudaError_t e); /* after a crashed kernel: its first finding */

cudaError_t cudaDriverGetVersion(int *v);
cudaError_t cudaRuntimeGetVersion(int *v);
cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaInitDevice(int device, unsigned device_flags, unsigned flags);
cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer);
cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags);
cudaError_t cudaDeviceDisablePeerAccess(int peer);
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device);
cudaError_t cudaDeviceGetPCIBusId(char *id, int bytes, int device); /* one that no machine has */
cudaError_t cudaDeviceGetAttribute(int *v, enum cudaDeviceAttr attr, int device);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaDeviceReset(void);

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes);
cudaError_t cudaMalloc(void **p, size_t bytes); /* filled with 0xff */
cudaError_t cudaFree(void *p);
cudaError_t cudaMallocHost(void **p, size_t bytes);
cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaHostRegister(void *p, size_t bytes, unsigned flags);
cudaError_t cudaHostUnregister(void *p);
cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *p);
cudaError_t cudaMemcpy(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t s);
cudaError_t cudaMemcpyPeerAsync(void *dst, int dst_device, const void *src, int src_device,
                                size_t bytes, cudaStream_t s);
cudaError_t cudaMemset(void *dst, int byte, size_t bytes);
cudaError_t cudaMemsetAsync(void *dst, int byte, size_t bytes, cudaStream_t s);

cudaError_t cudaStreamCreate(cudaStream_t *s);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags);
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int priority);
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest);
cudaError_t cudaStreamDestroy(cudaStream_t s);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaStreamQuery(cudaStream_t s);
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags);
cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t fn, void *data);
cudaError_t cudaEventCreate(cudaEvent_t *e);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t e);
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s);
cudaError_t cudaEventRecordWithFlags(cudaEvent_t e, cudaStream_t s, unsigned flags);
cudaError_t cudaEventSynchronize(cudaEvent_t e);
cudaError_t cudaEventQuery(cudaEvent_t e);
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end);

cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g);
cudaError_t cudaStreamIsCapturing(cudaStream_t s, enum cudaStreamCaptureStatus *status);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *x, cudaGraph_t g, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t x, cudaStream_t s);
cudaError_t cudaGraphUpload(cudaGraphExec_t x, cudaStream_t s);
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t x, cudaGraph_t g,
                                cudaGraphExecUpdateResultInfo *info);
cudaError_t cudaGraphGetNodes(cudaGraph_t g, cudaGraphNode_t *nodes, size_t *n);
cudaError_t cudaGraphDestroy(cudaGraph_t g);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t x);

cudaError_t cudaFuncSetAttribute(const void *func, enum cudaFuncAttribute attr, int value);
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *func);
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *n, const void *func, int block,
                                                          size_t smem);
}

template <class T> inline cudaError_t cudaMalloc(T **p, size_t bytes)
{
    return cudaMalloc(reinterpret_cast<void **>(p), bytes);
}
template <class T> inline cudaError_t cudaMallocHost(T **p, size_t bytes)
{
    return cudaMallocHost(reinterpret_cast<void **>(p), bytes);
}
template <class... P>
inline cudaError_t cudaFuncSetAttribute(void (*func)(P...), enum cudaFuncAttribute attr, int value)
{
    return cudaFuncSetAttribute(reinterpret_cast<const void *>(func), attr, value);
}
template <class... P>
inline cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, void (*func)(P...))
{
    return cudaFuncGetAttributes(a, reinterpret_cast<const void *>(func));
}
template <class... P>
inline cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *n, void (*func)(P...),
                                                                 int block, size_t smem)
{
    return cudaOccupancyMaxActiveBlocksPerMultiprocessor(n, reinterpret_cast<const void *>(func),
                                                         block, smem);
}

#endif
