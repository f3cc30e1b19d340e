//! Tags of objects, which the stand-in for S3 has not.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;

/// The stand-in, and the tags of its objects. These end with the process: no lifecycle rule runs here that would read them.
#[derive(Debug)]
pub(crate) struct Tagged {
    files: FileSystem,
    tags: Mutex<HashMap<(BucketName, ObjectKey), TagSet>>,
}

impl Tagged {
    pub(crate) fn new(files: FileSystem) -> Self {
        Self {
            files,
            tags: Mutex::default(),
        }
    }
}

/// What an operation of [`S3`] gives, as the trait wants it.
type Answer<'a, T> = Pin<Box<dyn Future<Output = S3Result<S3Response<T>>> + Send + 'a>>;

/// Implements [`S3`]: the operations that are passed on are the stand-in's own.
macro_rules! s3 {
    (passed_on { $($operation:ident($input:ty) -> $output:ty;)* } $($own:item)*) => {
        impl S3 for Tagged {
            $(
                fn $operation<'a, 'b>(&'a self, request: S3Request<$input>) -> Answer<'b, $output>
                where
                    'a: 'b,
                    Self: 'b,
                {
                    self.files.$operation(request)
                }
            )*
            $($own)*
        }
    };
}

s3! {
    passed_on {
        abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput;
        complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput;
        copy_object(CopyObjectInput) -> CopyObjectOutput;
        create_bucket(CreateBucketInput) -> CreateBucketOutput;
        create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput;
        delete_bucket(DeleteBucketInput) -> DeleteBucketOutput;
        delete_object(DeleteObjectInput) -> DeleteObjectOutput;
        delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput;
        get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput;
        get_object(GetObjectInput) -> GetObjectOutput;
        head_bucket(HeadBucketInput) -> HeadBucketOutput;
        head_object(HeadObjectInput) -> HeadObjectOutput;
        list_buckets(ListBucketsInput) -> ListBucketsOutput;
        list_objects(ListObjectsInput) -> ListObjectsOutput;
        list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output;
        list_parts(ListPartsInput) -> ListPartsOutput;
        put_object(PutObjectInput) -> PutObjectOutput;
        upload_part(UploadPartInput) -> UploadPartOutput;
        upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput;
    }

    fn put_object_tagging<'a, 'b>(
        &'a self,
        request: S3Request<PutObjectTaggingInput>,
    ) -> Answer<'b, PutObjectTaggingOutput>
    where
        'a: 'b,
        Self: 'b,
    {
        let PutObjectTaggingInput { bucket, key, tagging, .. } = request.input.clone();
        Box::pin(async move {
            // An object that does not exist has no tags.
            self.files.head_object(request.map_input(|it| head(it.bucket, it.key))).await?;
            let mut tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
            tags.insert((bucket, key), tagging.tag_set);
            Ok(S3Response::new(PutObjectTaggingOutput::default()))
        })
    }

    fn get_object_tagging<'a, 'b>(
        &'a self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> Answer<'b, GetObjectTaggingOutput>
    where
        'a: 'b,
        Self: 'b,
    {
        let GetObjectTaggingInput { bucket, key, .. } = request.input.clone();
        Box::pin(async move {
            self.files.head_object(request.map_input(|it| head(it.bucket, it.key))).await?;
            let tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
            let tag_set = tags.get(&(bucket, key)).cloned().unwrap_or_default();
            Ok(S3Response::new(GetObjectTaggingOutput { tag_set, version_id: None }))
        })
    }
}

fn head(bucket: BucketName, key: ObjectKey) -> HeadObjectInput {
    HeadObjectInput {
        bucket,
        key,
        ..HeadObjectInput::default()
    }
}
