//! Size
